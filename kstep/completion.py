# SPDX-License-Identifier: GPL-2.0-only
"""Completions of an option's value for a shell: sessions, variants, trees, tools and others."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from kstep.source.series import Series

# Of verify, with commas.
LISTS = frozenset({"series", "tree", "kconfig", "compiler", "suite", "variants", "sessions"})
TREES = ("path:", "git:", "tar:")


def values(line: str, root: Path) -> list[str] | None:
    """Return the completions of the last word of a command line; None if kstep has none for it.

    ``line`` is what was typed so far, as a shell splits it: for bash a colon and an equals sign
    are separate words, and it replaces only what follows them.
    """
    split = " : " in f"{line} "
    words = re.sub(r" (:) ?", r"\1", line.replace(" = ", " ")).split(" ")
    words = [word.strip("'\"") for word in words]
    word = words.pop()
    if word.startswith("--") and "=" in word:
        option, _, word = word.partition("=")
        before = f"{option}="
    else:
        option, before = (words[-1] if words else ""), ""
        if word.startswith("-"):
            option, word = word, ""
    name = option.removeprefix("--")
    if not option.startswith("--") or name not in CANDIDATES:
        return None
    typed = dict(itertools.pairwise(words))
    try:
        found = list(CANDIDATES[name](root, typed, word.rpartition(",")[2]))
    except (RequestError, MachineryError):
        return None
    if name in LISTS and "," in word:
        before += word.rpartition(",")[0] + ","
    cut = word.rindex(":") + 1 if split and ":" in word else 0
    return [(before + each)[cut:] for each in found if (before + each).startswith(word[:cut])]


def _sessions(root: Path, _typed: Mapping[str, str], word: str) -> Iterable[str]:
    """Return every session, or every case of the one whose bracket is open."""
    from kstep.session import selection  # noqa: PLC0415 -- loads every script

    name, bracket, _ = word.partition("[")
    if bracket:
        return [f"{name}[{case}]" for case in _case_names(root, name)]
    folder = root / "tests/sessions"
    return [*selection.select(folder, []).known, *selection.choices(folder)]


def _cases(root: Path, typed: Mapping[str, str], _word: str) -> Iterable[str]:
    return _case_names(root, typed.get("--session", ""))


def _case_names(root: Path, session: str) -> list[str]:
    from kstep.session import selection  # noqa: PLC0415 -- loads every script

    known = selection.select(root / "tests/sessions", []).known
    return [case.name for case in known[session].cases] if session in known else []


def _series_names(root: Path, _typed: Mapping[str, str], _word: str) -> Iterable[str]:
    return sorted(path.parent.name for path in (root / "patches").glob("*/series.yaml"))


def _variants(root: Path, typed: Mapping[str, str], _word: str) -> Iterable[str]:
    """The variants of the series named before, or of all in patches/ if none is."""
    from kstep.source import variant  # noqa: PLC0415 -- not for every completion

    return [each.name for each in variant.variants(_series(root, typed))]


def _series(root: Path, typed: Mapping[str, str]) -> list[Series]:
    from kstep.source import series  # noqa: PLC0415 -- not for every completion

    named = typed.get("--series", "").split(",") if typed.get("--series") else None
    return [series.load(each, root) for each in named or _series_names(root, {}, "")]


def _trees(_root: Path, _typed: Mapping[str, str], _word: str) -> Iterable[str]:
    from kstep.source import debian  # noqa: PLC0415 -- not for every completion

    return [*(f"debian:{version}" for version in debian.USUAL), *TREES]


def _kconfigs(root: Path, _typed: Mapping[str, str], _word: str) -> Iterable[str]:
    return sorted(path.stem for path in (root / "kconfigs").glob("*.config"))


def _compilers(_root: Path, _typed: Mapping[str, str], _word: str) -> Iterable[str]:
    from kstep.toolchain import COMPILERS  # noqa: PLC0415 -- not for every completion

    return list(COMPILERS)


def _suites(_root: Path, _typed: Mapping[str, str], _word: str) -> Iterable[str]:
    from kstep.toolchain.suite import SUITES  # noqa: PLC0415 -- not for every completion

    return SUITES


def _matrices(_root: Path, _typed: Mapping[str, str], _word: str) -> Iterable[str]:
    from kstep.source import variant  # noqa: PLC0415 -- not for every completion

    return list(variant.MATRICES)


CANDIDATES: Mapping[str, Callable[[Path, Mapping[str, str], str], Iterable[str]]] = {
    "sessions": _sessions,
    "session": _sessions,
    "function": _cases,
    "series": _series_names,
    "variants": _variants,
    "variant": _variants,
    "tree": _trees,
    "kconfig": _kconfigs,
    "compiler": _compilers,
    "suite": _suites,
    "matrix": _matrices,
    "toolchain": lambda *_: ["auto", "docker", "host"],
    "accel": lambda *_: ["auto", "kvm", "tcg"],
}
