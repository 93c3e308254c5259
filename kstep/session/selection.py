# SPDX-License-Identifier: GPL-2.0-only
"""What ``--sessions`` selects: names, patterns, cases, named choices, files of the user's.

A selector is ``[FILE.py::]SESSION[CASE]``, of which everything but one part may be missing.
``*`` and ``?`` stand for any characters and for any one.
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
    """One part of ``--sessions``; ``session`` and ``case`` are patterns, "" for every one.

    ``file`` is as it was typed, "" for kstep's own sessions.
    """

    text: str
    file: str
    session: str
    case: str

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read a selector; raises RequestError if it is none."""
        found = FORM.fullmatch(text)
        if found is None or found["case"] == "[]" or not (found["file"] or found["session"]):
            raise RequestError(
                f"--sessions {text}: must be SESSION, SESSION[CASE], FILE.py or FILE.py::SESSION"
            )
        return cls(text, found["file"] or "", found["session"], (found["case"] or "")[1:-1])

    @property
    def is_pattern(self) -> bool:
        """Whether it may stand for more than one session."""
        return not self.session or is_pattern(self.session)


@dataclass(frozen=True)
class Selection:
    """What was selected.

    ``sessions`` have only the cases that were selected, ``known`` are all that there are, with
    all of theirs. ``selectors`` select the same again, one by one, without patterns.
    """

    sessions: tuple[Session, ...]
    known: Mapping[str, Session]
    selectors: tuple[str, ...]


def choices(folder: Path) -> dict[str, list[str]]:
    """Read the named choices that stand beside the sessions; none if there is no such file."""
    path = folder / CHOICES
    return dict(document.load(path, LISTS).value) if path.exists() else {}


def select(folder: Path, texts: Sequence[str]) -> Selection:
    """Find what is selected from the sessions of a folder and from files of the user's.

    Without a selector these are all that are settled. Raises RequestError, with what is near
    or possible, for what selects nothing.
    """
    named = choices(folder)
    selectors = [Selector.parse(each) for text in texts for each in named.get(text, [text])]
    files = {each.file: Path(each.file) for each in selectors if each.file}
    for typed, path in files.items():
        if not path.is_file():
            raise RequestError(f"--sessions {typed}: there is no such file")
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
        del cases[name]  # a pattern's session that has no such case
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
    """Return the sessions of a selector that have a case of it."""
    there = {
        name: script
        for name, script in known.items()
        if (
            script.own and script.file == Path(each.file).absolute()
            if each.file
            else not script.own
        )
    }
    if not each.is_pattern and each.session not in there:
        near = nearest(each.session, [*there, *([] if each.file else named)])
        raise RequestError(f'session "{each.session}" does not exist; {near}')
    found = [script for name, script in there.items() if matches(each.session or "*", name)]
    if each.is_pattern and not each.file:
        if found and all(script.unsettled for script in found):
            raise RequestError(
                f"--sessions {each.text}: matches only {found[0].name}, which is run only by its"
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
        raise RequestError(f"--sessions {each.text}: {what} no cases; leave [{each.case}] out")
    raise RequestError(
        f'--sessions {each.text}: {what} no case "{each.case}"; {nearest(each.case, names)}'
    )


def _narrowed(script: Session, chosen: Iterable[str | None]) -> Session:
    return replace(script, cases=tuple(case for case in script.cases if case.name in set(chosen)))


def _again(typed: str, script: Session, chosen: set[str | None]) -> list[str]:
    """Return the selectors of some cases of a session, or of all."""
    if chosen == set(script.case_names):
        return [typed]
    return [f"{typed}[{name}]" for name in script.case_names if name in chosen]
