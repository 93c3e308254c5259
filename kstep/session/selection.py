# SPDX-License-Identifier: GPL-2.0-only
"""What ``--sessions`` selects: names, patterns, cases, named choices, the user's own files.

A selector is ``[FILE.py::]SESSION[CASE]``; at least one part must be given.
``*`` matches any characters, ``?`` any one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import document
from kstep.base.document import nearest
from kstep.base.errors import RequestError
from kstep.base.pattern import is_pattern, matches
from kstep.results.cell import cell_name
from kstep.session import session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kstep.session.session import Session

CHOICES = "choices.yaml"
LISTS = {
    "type": "object",
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {"type": "string"},
    },
}
FORM = re.compile(
    r"(?:(?P<file>.*?\.py|.*/[^[:]*)(?:::|(?=\[)|\Z))?(?P<session>[^[\]]*)(?P<case>\[[^]]*\])?"
)
LISTED = "./inv sessions lists them"


@dataclass(frozen=True)
class Selector:
    """One part of ``--sessions``; ``session`` and ``case`` are patterns, "" for all.

    ``file`` is as typed, "" for kstep's own sessions.
    """

    text: str
    file: str
    session: str
    case: str

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read a selector; raises RequestError if it is invalid."""
        found = FORM.fullmatch(text)
        if found is None or found["case"] == "[]" or not (found["file"] or found["session"]):
            raise RequestError(
                f"--sessions {text}: must be SESSION, SESSION[CASE], FILE.py or FILE.py::SESSION"
            )
        return cls(text, found["file"] or "", found["session"], (found["case"] or "")[1:-1])

    @property
    def is_pattern(self) -> bool:
        """Whether it may match more than one session."""
        return not self.session or is_pattern(self.session)


@dataclass(frozen=True)
class Selection:
    """The selected sessions.

    ``sessions`` have only the selected cases, ``known`` are all sessions with all cases.
    ``selectors`` select the same again, without patterns.
    """

    sessions: tuple[Session, ...]
    known: Mapping[str, Session]
    selectors: tuple[str, ...]


def choices(folder: Path) -> dict[str, list[str]]:
    """Read the named choices beside the sessions; none if there is no such file."""
    path = folder / CHOICES
    return dict(document.load(path, LISTS).value) if path.exists() else {}


def select(folder: Path, texts: Sequence[str]) -> Selection:
    """Select from the sessions of a folder and from the user's own files.

    Without a selector, all settled sessions. Raises RequestError, with similar or possible
    names, for a selector that selects nothing.
    """
    named = choices(folder)
    selectors = [Selector.parse(each) for text in texts for each in named.get(text, [text])]
    files = {each.file: Path(each.file) for each in selectors if each.file}
    for typed, path in files.items():
        if not path.is_file():
            raise RequestError(f"--sessions {typed}: no such file")
    known = session.load(folder, list(files.values()))
    if not selectors:
        settled = [each for each in known.values() if not each.unsettled]
        return Selection(tuple(settled), known, tuple(each.name for each in settled))
    cases: dict[str, set[str | None]] = {}
    typed_as: dict[str, str] = {}
    for each in selectors:
        for script in _sessions(each, known, named):
            cases.setdefault(script.name, set()).update(_cases(each, script))
            typed_as[script.name] = f"{each.file}::{script.name}" if each.file else script.name
    for name in [name for name, chosen in cases.items() if not chosen]:
        del cases[name]  # matches the pattern, but has no such case
    return Selection(
        tuple(_narrowed(known[name], chosen) for name, chosen in cases.items()),
        known,
        tuple(
            selector
            for name, chosen in cases.items()
            for selector in _again(typed_as[name], known[name], chosen)
        ),
    )


def _sessions(
    each: Selector, known: Mapping[str, Session], named: Mapping[str, Sequence[str]]
) -> list[Session]:
    """Return the sessions that match a selector and have a matching case."""
    candidates = {
        name: script
        for name, script in known.items()
        if (
            script.own and script.file == Path(each.file).absolute()
            if each.file
            else not script.own
        )
    }
    if not each.is_pattern and each.session not in candidates:
        near = nearest(each.session, [*candidates, *([] if each.file else named)])
        raise RequestError(f'session "{each.session}" does not exist; {near}')
    found = [script for name, script in candidates.items() if matches(each.session or "*", name)]
    if each.is_pattern and not each.file:
        if found and all(script.unsettled for script in found):
            raise RequestError(
                f"--sessions {each.text}: matches only {found[0].name}, which runs only by its"
                f" full name: {found[0].unsettled}"
            )
        found = [script for script in found if not script.unsettled]
    if not found:
        raise RequestError(f"--sessions {each.text}: matches no session; {LISTED}")
    if not any(_cases(each, script) for script in found):
        _refuse_case(each, found)
    return found


def _cases(each: Selector, script: Session) -> set[str | None]:
    if not each.case:
        return set(script.case_names)
    return {name for name in script.case_names if name and matches(each.case, name)}


def _refuse_case(each: Selector, found: Sequence[Session]) -> None:
    names = {name for script in found for name in script.case_names if name}
    what = f"{found[0].name} has" if len(found) == 1 else "these sessions have"
    if not names:
        raise RequestError(f"--sessions {each.text}: {what} no cases; remove [{each.case}]")
    raise RequestError(
        f'--sessions {each.text}: {what} no case "{each.case}"; {nearest(each.case, names)}'
    )


def _narrowed(script: Session, chosen: Iterable[str | None]) -> Session:
    return replace(script, cases=tuple(case for case in script.cases if case.name in set(chosen)))


def _again(typed: str, script: Session, chosen: set[str | None]) -> list[str]:
    """Return selectors for the chosen cases of a session, or one for all."""
    if chosen == set(script.case_names):
        return [typed]
    return [cell_name(typed, name) for name in script.case_names if name in chosen]
