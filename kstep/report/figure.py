# SPDX-License-Identifier: GPL-2.0-only
"""The effect of a patch on a group of tests in numbers, from the metrics of their cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kstep.results.cell import CellRecord


@dataclass(frozen=True)
class Measure:
    """A count that sessions keep: ``got`` is the measured, ``due`` the right number, if known.

    Both are names of metrics; the first that a cell has counts.
    """

    what: str
    got: tuple[str, ...]
    due: tuple[str, ...] = ()


@dataclass(frozen=True)
class Count:
    """A measured number, and the right one; ``due`` is None if that is unknown."""

    got: int
    due: int | None

    def __str__(self) -> str:
        return f"{self.got:,}" if self.due is None else f"{self.got:,} of {self.due:,}"


# The metrics of irq-exit-preemption are named after what ran beside the thread; it ends at the
# first fault, so the last metric of a cell is the decisive one.
MEASURES = (
    Measure("steps in order", ("in_order",), ("steps",)),
    Measure("hits counted", ("hits",), ("due", "calls", "times")),
    Measure("wake-ups", ("woken_watched", "woken_after_a_step", "woken_beside_kernel")),
)

Pair = tuple["Sequence[CellRecord]", "Sequence[CellRecord]"]


def figure(pairs: Iterable[Pair]) -> str:
    """Describe the effect on tests in numbers; each test is a pair: its cells before and after.

    Empty if no measure is in the metrics of both sides, or if both sides are equal. Of several
    measures, the one that most of the tests have is used.
    """
    tests = list(pairs)
    counted = [(measure, *_counts(measure, tests)) for measure in MEASURES]
    measure, before, after, many = max(counted, key=lambda each: each[-1])
    if not many or before == after:
        return ""
    return f"{measure.what}: {after}; unpatched {before}"


def _counts(measure: Measure, tests: Iterable[Pair]) -> tuple[Count, Count, int]:
    """Add up both sides of the tests that have the measure, and count these tests."""
    both = [
        (old, new)
        for before, after in tests
        if (new := _count(measure, after)) is not None
        and (old := _count(measure, before)) is not None
    ]
    return _sum(old for old, _ in both), _sum(new for _, new in both), len(both)


def _count(measure: Measure, cells: Sequence[CellRecord]) -> Count | None:
    """Add up the repeats of one test; None if one of them does not have the measure."""
    counts: list[Count] = []
    for each in cells:
        got, due = _first(each.metrics, measure.got), _first(each.metrics, measure.due)
        if got is None or (measure.due and not due):
            return None
        counts.append(Count(got, due))
    return _sum(counts) if counts else None


def _sum(counts: Iterable[Count]) -> Count:
    found = list(counts)
    known = [each.due for each in found if each.due is not None]
    return Count(sum(each.got for each in found), sum(known) if known else None)


def _first(metrics: Mapping[str, object], names: Iterable[str]) -> int | None:
    """Return the first of some metrics that exists and is a whole number."""
    for name in names:
        value = metrics.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
