# SPDX-License-Identifier: GPL-2.0-only
"""The list of sessions: claim, cases, needs and usual time."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kstep.session import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kstep.session.session import Session

MINUTE = 60.0  # seconds


def lines(sessions: Iterable[Session], usual: Mapping[str, float], width: int) -> Iterator[str]:
    """Describe each session in a few lines of at most ``width`` columns.

    ``usual`` are the seconds by the name of a cell; an unknown time is omitted.
    """
    for script in sessions:
        yield from _head(script.name, len(script.case_names), seconds.of(script, usual), width)
        yield from _wrapped(script.claim, "    ", width)
        if script.cases:
            names = ", ".join(case.name for case in script.cases)
            yield from _wrapped(f"cases: {names}", "    ", width)
        if needs := _needs(script):
            yield from _wrapped(f"needs: {'; '.join(needs)}", "    ", width)
        if script.unsettled:
            why = f"runs only by its full name: {script.unsettled}"
            yield from _wrapped(why, "    ", width)
        yield ""


def choice_lines(
    choices: Mapping[str, tuple[Sequence[str], Sequence[Session]]],
    usual: Mapping[str, float],
    width: int,
) -> Iterator[str]:
    """Describe each named choice: what it selects, as selectors and as sessions."""
    for name, (selectors, sessions) in choices.items():
        times = [seconds.of(script, usual) for script in sessions]
        known = [time for time in times if time is not None]
        count = sum(len(script.case_names) for script in sessions)
        yield from _head(name, count, sum(known) if len(known) == len(times) else None, width)
        yield from _wrapped(f"selects: {', '.join(selectors)}", "    ", width)
        yield ""


def duration(time: float) -> str:
    """Format a time in seconds, or in minutes."""
    return f"{max(1, round(time))} s" if time < 2 * MINUTE else f"{round(time / MINUTE)} min"


def _head(name: str, tests: int, time: float | None, width: int) -> Iterator[str]:
    counted = f"{tests} test{'s' * (tests != 1)}"
    facts = counted if time is None else f"{counted}, {duration(time)} per kernel"
    yield f"{name}{facts:>{max(len(facts) + 1, width - len(name))}}"


def _needs(script: Session) -> list[str]:
    """What a kernel and a machine must have for its cases."""
    wanted: dict[str, None] = dict.fromkeys(script.needs)
    for case in script.case_names:
        wanted |= dict.fromkeys(map(str, script.requires_for(case)))
    return list(wanted)


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
