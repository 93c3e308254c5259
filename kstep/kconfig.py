# SPDX-License-Identifier: GPL-2.0-only
"""Kernel configurations: fragments joined, or a whole one, and whether all of it was really set.

A line of a fragment may say in its comment which versions have the option: ``from 5.18:``,
``up to 6.19:``, ``from 5.18 up to 6.19:``, the bounds included. It is left out elsewhere.
In base, ``free:`` says that a whole configuration may have the option otherwise.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPTION = re.compile(r'^(?P<name>CONFIG_\w+)=(?P<value>"[^"]*"|[^\s"]+)\s*(?:#\s*(?P<why>.*))?$')
UNSET = re.compile(r"^# (?P<name>CONFIG_\w+) is not set\s*(?:#\s*(?P<why>.*))?$")
# A comment that was meant to be UNSET; Kconfig would pass over it without a word.
MISSPELT = re.compile(r"^#\s*CONFIG_\w+\s+is\s+not\s+set\b")
VERSIONS = re.compile(r"^(?:from (?P<first>\d+\.\d+))?(?:\b ?up to (?P<last>\d+\.\d+))?:")
WHOLE = re.compile(r"^# Linux/(?P<arch>\w+) \S+ Kernel Configuration$", re.MULTILINE)
DECLARED = re.compile(r"^\s*(?:menu)?config\s+(\w+)", re.MULTILINE)
# What Kconfig finds out about the compiler, and about itself.
FREE = "free:"
FOUND_OUT = re.compile(
    r"^CONFIG_(CC_|GCC_|CLANG_|AS_|LD_|LLD_|RUSTC_|PAHOLE_|BINDGEN_|TOOLS_|ARCH_|HAVE_|HAS_)"
)
BASE = "base"
SHOWN = 5  # options that a sentence names


@dataclass(frozen=True)
class Line:
    """An option as a line asks for it; ``value`` "n" means not set.

    ``first`` and ``last`` are the versions that have it, None where that is open.
    """

    name: str
    value: str
    path: Path
    number: int
    why: str = ""
    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    def holds(self, version: tuple[int, int]) -> bool:
        """Whether a kernel of ``version`` has the option."""
        return (self.first or version) <= version <= (self.last or version)


@dataclass(frozen=True)
class Kconfig:
    """A configuration of one version's kernel: these options, and the rest as ``others`` has it.

    ``options`` maps CONFIG_X to its value as .config spells it; "n" means not set.
    ``others`` is allnoconfig or alldefconfig. Of the options in ``wishes``, which come from
    a whole configuration, those that this kernel cannot have are no error.
    """

    name: str
    options: Mapping[str, str]
    others: str = "allnoconfig"
    wishes: frozenset[str] = frozenset()

    @property
    def fragment(self) -> str:
        """The options in the form that scripts/kconfig/merge_config.sh takes."""
        return "".join(
            f"# {name} is not set\n" if value == "n" else f"{name}={value}\n"
            for name, value in self.options.items()
        )

    @property
    def digest(self) -> str:
        """What the configuration asks for, as a hash."""
        others = "" if self.others == "allnoconfig" else f"{self.others}\n"
        return hashlib.sha256(f"{others}{self.fragment}".encode()).hexdigest()

    def check(self, config: Path) -> tuple[str, ...]:
        """Return the wishes that Kconfig did not fulfil; raise where it dropped another option."""
        got = parse(config)
        wrong = {
            name: f"{name} is {got.get(name, 'n')}, not {value}"
            for name, value in self.options.items()
            if got.get(name, "n") != value
        }
        if asked := [said for name, said in wrong.items() if name not in self.wishes]:
            raise MachineryError(
                f"kconfig {self.name}: Kconfig did not take {len(asked)} option(s) that were asked"
                f" for, for a dependency that is not met: {'; '.join(asked)}"
            )
        return tuple(name for name in wrong if not FOUND_OUT.match(name))


@dataclass(frozen=True)
class Request:
    """A configuration that was asked for, for whatever version: its lines, the last winning.

    ``whole`` are the lines of a whole .config, which the others stand on.
    """

    name: str
    lines: tuple[Line, ...]
    whole: tuple[Line, ...] = ()

    def on(self, version: str) -> Kconfig:
        """Return the configuration for a kernel of ``version``, such as "6.1.192"."""
        number = _version(version)
        wished = {line.name: line.value for line in self.whole}
        asked = {line.name: line.value for line in self.lines if line.holds(number)}
        return Kconfig(
            self.name,
            wished | asked,
            "alldefconfig" if self.whole else "allnoconfig",
            frozenset(wished) - frozenset(asked),
        )

    def remarks(self, version: str) -> list[str]:
        """Say what is not as the lines have it.

        That is what is left out for a version, what base has and a fragment takes back, and
        what a whole .config has to take.
        """
        number = _version(version)
        left = [
            f"without {line.name} ({line.why})" for line in self.lines if not line.holds(number)
        ]
        wished = {line.name: line.value for line in self.whole}
        options = self.on(version).options
        left += [
            f"{line.name} {options[line.name]}, not {line.value} ({line.why})"
            for line in self.lines
            if line.holds(number)
            and options[line.name] != line.value
            and line.why
            and not line.why.startswith(FREE)
        ]
        added = [
            f"{name} {value}"
            for name, value in options.items()
            if self.whole and wished.get(name, "n") != value
        ]
        return [*left, *([f"{_some(added)} added or changed, for kstep needs it"] if added else [])]

    def require_known(self, version: str, declared: frozenset[str]) -> None:
        """Raise RequestError for an option that is set and that this Kconfig does not declare."""
        number = _version(version)
        for line in self.lines:
            if line.value != "n" and line.holds(number) and line.name not in declared:
                raise RequestError(
                    f"Linux {version.split(maxsplit=1)[0]} has no option {line.name};"
                    " say behind the line which versions have it ('# up to 6.19: reason'), or"
                    f" {_mend(line.name, declared)}",
                    line.path,
                    line.number,
                )


def _mend(name: str, declared: frozenset[str]) -> str:
    close = difflib.get_close_matches(name, declared, n=1)
    return f'did you mean "{close[0]}"?' if close else "take it out"


def declared(source: Path) -> frozenset[str]:
    """Return the options that the Kconfig files of a source declare, as CONFIG_X."""
    names: set[str] = set()
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name != ".git"]
        for file in files:
            if file.startswith("Kconfig"):
                text = (Path(folder) / file).read_text(errors="replace")
                names.update(f"CONFIG_{name}" for name in DECLARED.findall(text))
    return frozenset(names)


def parse(path: Path) -> dict[str, str]:
    """Read the options of a fragment or a .config."""
    return {line.name: line.value for line in read(path)}


def read(path: Path) -> tuple[Line, ...]:
    """Read the lines of a fragment or a .config; a comment may stand behind an option."""
    lines = []
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", path) from error
    for number, line in enumerate(text.splitlines(), 1):
        match = OPTION.match(line) or UNSET.match(line)
        if match:
            lines.append(_line(match, path, number))
        elif line.strip() and (not line.startswith("#") or MISSPELT.match(line)):
            raise RequestError(
                f"{line.strip()[:60]!r} is no option; write CONFIG_NAME=value"
                " or '# CONFIG_NAME is not set'",
                path,
                number,
            )
    return tuple(lines)


def _line(match: re.Match[str], path: Path, number: int) -> Line:
    why = (match["why"] or "").strip()
    span = VERSIONS.match(why)
    first, last = (span["first"], span["last"]) if span else (None, None)
    return Line(
        name=match["name"],
        value=match.groupdict().get("value", "n"),
        path=path,
        number=number,
        why=why,
        first=_version(first) if first else None,
        last=_version(last) if last else None,
    )


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def load(text: str, folder: Path) -> Request:
    """Return ``base``, or fragments on top of it, or of a whole .config, joined by "+".

    A fragment is one of ``folder``, or the path of a file. A whole .config comes first, and
    takes the place of base: kstep adds what it needs.
    """
    names = [text] if Path(text).is_file() else text.split("+")
    if "" in names or len(set(names)) < len(names):
        raise RequestError(f"kconfig {text}: between two + stands one name, and each name once")
    paths = [_find(name, folder) for name in names if name != BASE]
    base = read(folder / f"{BASE}.config")
    parts = {path: read(path) for path in paths}
    wholes = [path for path in paths if _is_whole(path)]
    if wholes and (paths[0] not in wholes or BASE in names or len(wholes) > 1):
        raise RequestError(
            f"kconfig {text}: {wholes[-1]} is a whole configuration; name it first, alone or"
            " with fragments behind it, and not with base"
        )
    own = tuple(line for path in paths if path not in wholes for line in parts[path])
    if wholes:
        base = tuple(line for line in base if not line.why.startswith(FREE))
    return Request(
        name="+".join(_stem(path) for path in paths) or BASE,
        lines=(*base, *own),
        whole=parts[wholes[0]] if wholes else (),
    )


def _find(name: str, folder: Path) -> Path:
    for path in (folder / f"{name}.config", Path(name)):
        if path.is_file():
            return path
    there = ", ".join(sorted(p.stem for p in folder.glob("*.config")))
    raise RequestError(
        f"kconfig {name}: there is {there}, or the path of a fragment or of a .config"
    )


def _stem(path: Path) -> str:
    return path.name.removesuffix(".config") or "config"


def _is_whole(path: Path) -> bool:
    with path.open(errors="replace") as lines:
        head = lines.read(400)
    found = WHOLE.search(head)
    if found and found["arch"] != "arm64":
        raise RequestError(f"is a configuration for {found['arch']}; give one for arm64", path)
    return found is not None
