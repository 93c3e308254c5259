# SPDX-License-Identifier: GPL-2.0-only
"""What the patches changed, and the exit status that follows from the cells."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kstep.base.outcome import Outcome
from kstep.results.cell import BASE
from kstep.results.rate import Rate, compare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kstep.results.cell import Cell
    from kstep.results.setup import Setup


class Judged(Protocol):
    """A cell and its result; ``matched`` is whether that was expected."""

    @property
    def cell(self) -> Cell:
        """The cell."""

    @property
    def outcome(self) -> Outcome:
        """Its outcome."""

    @property
    def died_at_boot(self) -> bool:
        """Whether the kernel failed before it was up."""

    @property
    def matched(self) -> bool:
        """Whether it went as predicted; without a prediction, no worse than with ``none``."""


def verdict(cells: Iterable[Judged]) -> dict[str, dict[str, list[str]]]:
    """Compare every variant with ``none``, cell name by cell name; expectations are ignored.

    The keys are those of Cell.column, the values the sorted names under ``fixed``,
    ``regressed`` and ``unchanged``. A name fails if any repeat failed and passes if all
    passed. It is in no list if it has an error and no failure, or ran on one side only. Two
    ways to fail count as unchanged, but a kernel that dies at boot has regressed from one that
    fails in another way.
    """
    seen: dict[tuple[Setup, str], dict[str, set[Outcome]]]
    seen = defaultdict(lambda: defaultdict(set))
    died: dict[tuple[Setup, str], set[str]] = defaultdict(set)
    for record in cells:
        cell = record.cell
        column = cell.setup, cell.variant
        seen[column][cell.name].add(record.outcome)
        if record.died_at_boot:
            died[column].add(cell.name)
    worked = {
        column: {name: works for name, all_ in names.items() if (works := _works(all_)) is not None}
        for column, names in seen.items()
    }

    found = {}
    for setup, variant in sorted(worked, key=lambda key: (key[0].parts, order(key[1]))):
        if variant == BASE or (setup, BASE) not in worked:
            continue
        before, after = worked[setup, BASE], worked[setup, variant]
        names = sorted(before.keys() & after.keys())
        died_since = died[setup, variant] - died[setup, BASE]
        fixed = [name for name in names if after[name] and not before[name]]
        regressed = [
            name for name in names if not after[name] and (before[name] or name in died_since)
        ]
        changed = {*fixed, *regressed}
        found[f"{setup.name}/{variant}"] = {
            "fixed": fixed,
            "regressed": regressed,
            "unchanged": [name for name in names if name not in changed],
        }
    return found


@dataclass(frozen=True)
class Chance:
    """How often a name passes with a variant and with ``none``, if one of them varies."""

    name: str
    before: Rate
    after: Rate

    @property
    def p(self) -> float:
        """How likely such a difference is by chance alone: Fisher's exact test."""
        return compare(self.before, self.after)


def chances(cells: Iterable[Judged]) -> dict[str, list[Chance]]:
    """Return the rates of every name that varies, in a variant or in ``none``.

    The keys are those of ``verdict``.
    """
    outcomes: dict[tuple[Setup, str], dict[str, list[Outcome]]]
    outcomes = defaultdict(lambda: defaultdict(list))
    for record in cells:
        cell = record.cell
        outcomes[cell.setup, cell.variant][cell.name].append(record.outcome)
    found = {}
    for (setup, variant), names in outcomes.items():
        base = outcomes.get((setup, BASE), {})
        rates = [
            Chance(n, Rate.of(base[n]), Rate.of(names[n])) for n in sorted(base.keys() & names)
        ]
        found[f"{setup.name}/{variant}"] = [
            each
            for each in rates
            if each.before.total and each.after.total and (each.before.varies or each.after.varies)
        ]
    return found


def order(variant: str) -> tuple[object, ...]:
    """Sort key of variants: ``none``, v5/1, v5/2, v5/10, v5/1+2, v6/1, ..."""
    series, _, patches = variant.rpartition("/")
    return variant != BASE, series, patches.count("+"), len(patches), patches


def exit_status(cells: Iterable[Judged]) -> int:
    """0: every cell matched; 1: some cell did not; 3: some have no verdict, or there is no cell.

    A kernel that did not behave as predicted (1) outranks cells without a verdict (3): an
    error elsewhere does not hide a finding.
    """
    records = list(cells)
    if any(not record.matched and record.outcome is not Outcome.ERROR for record in records):
        return 1
    if not records or any(record.outcome is Outcome.ERROR for record in records):
        return 3
    return 0


def _works(seen: set[Outcome]) -> bool | None:
    """Whether all repeats passed; None if that is unknown."""
    if Outcome.FAIL in seen:
        return False
    return None if Outcome.ERROR in seen else True
