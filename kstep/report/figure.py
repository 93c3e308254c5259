# SPDX-License-Identifier: GPL-2.0-only
"""The number that tells what a patch did to a group of tests, from the metrics of their cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kstep.results.cell import CellRecord


@dataclass(frozen=True)
class Measure:
    """A count that sessions keep: ``got`` is what came, ``due`` what should have, if that is known.

    Both are names of metrics, of which the first that a cell has counts.
    """

    what: str
    got: tuple[str, ...]
    due: tuple[str, ...] = ()


@dataclass(frozen=True)
class Count:
    """How many came, of how many that were due; ``due`` is None if that is not known."""

    got: int
    due: int | None

    def __str__(self) -> str:
        return f"{self.got:,}" if self.due is None else f"{self.got:,} of {self.due:,}"


# The wake-ups of irq-exit-preemption are named by what the thread slept beside; it ends at the
# first that fails, so the last that a cell has is the one that tells.
MEASURES = (
    Measure("steps in order", ("in_order",), ("steps",)),
    Measure("hits counted", ("hits",), ("due", "calls", "times")),
    Measure("wake-ups", ("woken_watched", "woken_after_a_step", "woken_beside_kernel")),
)

Pair = tuple["Sequence[CellRecord]", "Sequence[CellRecord]"]


def figure(pairs: Iterable[Pair]) -> str:
    """Say in numbers what became of tests; each is a pair: its cells before and after.

    Empty where no measure is in the metrics of both sides, and where both sides say the same.
    Of several measures the one counts that most of the tests have.
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
    """Return the first of some metrics that is there, and is a whole number."""
    for name in names:
        value = metrics.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None
