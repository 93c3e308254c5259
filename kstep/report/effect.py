# SPDX-License-Identifier: GPL-2.0-only
"""What the patches of a variant do, compared with the unpatched kernel: fixes, breaks, numbers."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.report.area import area, rank
from kstep.report.figure import figure
from kstep.results.cell import BASE
from kstep.results.verdict import chances, order, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kstep.results.cell import CellRecord
    from kstep.results.record import Record
    from kstep.results.setup import Setup
    from kstep.results.verdict import Chance

FEW = 2  # cases of one session that are named one by one

Tests = dict[str, list["CellRecord"]]  # the cells of one column by the name of the test


@dataclass(frozen=True)
class Share:
    """The tests of one area that a variant fixes, or that it breaks.

    ``area`` is empty for sessions that state none. ``names`` are the tests. ``total`` counts
    the tests that could be fixed, or broken: those that the unpatched kernel fails, or passes.
    ``figure`` is the effect in numbers, empty if there is none. ``said`` names the tests briefly:
    the sessions, with the number of cases if there are many.
    """

    area: str
    names: tuple[str, ...]
    total: int
    figure: str
    said: tuple[str, ...]

    @property
    def title(self) -> str:
        """The area with its counts; without an area the tests themselves."""
        return f"{self.area} {self.counts}" if self.area else ", ".join(self.said)

    @property
    def counts(self) -> str:
        """How many of how many."""
        return f"{len(self.names)} of {self.total}"

    @property
    def short(self) -> str:
        """The title, with the effect in numbers."""
        return f"{self.title} ({self.figure})" if self.figure else self.title


@dataclass(frozen=True)
class Effect:
    """The effect of one variant. ``column`` is the key of the verdict, ``label`` its shortest name.

    ``failing`` and ``passing`` count the tests that the unpatched kernel fails and passes,
    ``unchanged`` those with the same result, ``still`` those of them that fail. All are 0 if
    there is nothing to compare with; ``alone`` says that the unpatched kernel was not run.
    """

    column: str
    label: str
    fixes: tuple[Share, ...] = ()
    breaks: tuple[Share, ...] = ()
    failing: int = 0
    passing: int = 0
    unchanged: int = 0
    still: int = 0
    chances: tuple[Chance, ...] = ()
    alone: bool = False

    @property
    def total(self) -> int:
        """How many tests have a verdict with the variant and without."""
        return self.failing + self.passing

    @property
    def changes(self) -> bool:
        """Whether it fixes or breaks anything."""
        return bool(self.fixes or self.breaks)

    @property
    def fixed(self) -> str:
        """The line of what it fixes, in counts; empty if it changes nothing."""
        return _counted("fixes", self.fixes, self.failing, "failing") if self.changes else ""

    @property
    def broken(self) -> str:
        """The line of what it breaks, in counts; empty if it changes nothing."""
        return _counted("breaks", self.breaks, self.passing, "passing") if self.changes else ""

    @property
    def rest(self) -> str:
        """The number of unchanged tests, or why there is nothing to compare with."""
        if not self.total:
            why = f'the unpatched kernel ("{BASE}") was not run'
            if not self.alone:
                why = "no test has a verdict on both kernels"
            return f"nothing to compare with: {why}"
        fails = f"; {self.still} of these fail on both" if self.still else ""
        start = f"{self.unchanged} of " if self.changes else "changes nothing: "
        return f"{start}{count_tests(self.total)} unchanged from the unpatched kernel{fails}"

    @property
    def rates(self) -> tuple[str, ...]:
        """A sentence for each flaky test; p is Fisher's exact test of the two rates."""
        return tuple(
            f"{each.name} passes {each.after}, unpatched {each.before}, p = {each.p:.2g}."
            for each in self.chances
        )

    @property
    def lines(self) -> list[str]:
        """A line each for what it fixes, what it breaks, what is unchanged, what is flaky."""
        fixes = "; ".join(share.short for share in self.fixes)
        breaks = "; ".join(
            f"{share.short}: {', '.join(share.said)}" if share.area else share.short
            for share in self.breaks
        )
        told = [
            f"{self.fixed}: {fixes}" if fixes else self.fixed,
            f"{self.broken}: {breaks}" if breaks else self.broken,
            self.rest,
            *self.rates,
        ]
        return [line for line in told if line]


def effects(record: Record) -> list[Effect]:
    """Return the effect of each variant, in the order of the columns.

    If there is nothing to compare a variant with, its effect says so.
    """
    columns: dict[tuple[Setup, str], Tests] = defaultdict(lambda: defaultdict(list))
    for each in record.cells:
        cell = each.cell
        columns[cell.setup, cell.variant][cell.name].append(each)
    entries, varying = verdict(record.cells), chances(record.cells)
    alone = len({setup for setup, _ in columns}) == 1
    found = []
    for key in sorted(columns, key=lambda key: (key[0].parts, order(key[1]))):
        setup, variant = key
        column, base = f"{setup.name}/{variant}", (setup, BASE)
        if key == base:
            continue
        label = variant if alone else column
        if base not in columns:
            found.append(Effect(column, label, alone=True))
            continue
        found.append(
            _effect(
                record,
                (column, label),
                entries[column],
                columns[base],
                columns[key],
                varying[column],
            )
        )
    return found


def _effect(
    record: Record,
    names: tuple[str, str],
    entry: Mapping[str, Sequence[str]],
    before: Tests,
    after: Tests,
    varying: Iterable[Chance],
) -> Effect:
    same = [name for name in entry["unchanged"] if _fails(before[name])]
    failing = [*entry["fixed"], *same]
    passing = [*entry["regressed"], *(name for name in entry["unchanged"] if name not in {*same})]
    return Effect(
        *names,
        fixes=_shares(record, entry["fixed"], failing, before, after),
        breaks=_shares(record, entry["regressed"], passing, before, after),
        failing=len(failing),
        passing=len(passing),
        unchanged=len(entry["unchanged"]),
        still=len(same),
        chances=tuple(varying),
    )


def _shares(
    record: Record, changed: Iterable[str], could: Sequence[str], before: Tests, after: Tests
) -> tuple[Share, ...]:
    """Group the changed tests by area; ``could`` are the tests that might have changed so."""

    def area_of(name: str) -> str:
        return area(record, before[name][0].cell.session)

    totals = Counter(map(area_of, could))
    cases = Counter(before[name][0].cell.session for name in could)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in changed:
        groups[area_of(name)].append(name)
    return tuple(
        Share(
            area=group,
            names=tuple(groups[group]),
            total=totals[group],
            figure=figure((before[name], after[name]) for name in groups[group]),
            said=_said(groups[group], before, cases),
        )
        for group in sorted(groups, key=rank)
    )


def _said(names: Iterable[str], tests: Tests, cases: Mapping[str, int]) -> tuple[str, ...]:
    """Name tests; for many cases of a session, only their number."""
    said: list[str] = []
    for session, group in itertools.groupby(names, lambda name: tests[name][0].cell.session):
        found = list(group)
        if len(found) <= FEW:
            said += found
        else:
            total = cases[session]
            said.append(
                f"{session} ({'all' if len(found) == total else f'{len(found)} of'} {total})"
            )
    return tuple(said)


def _fails(cells: Iterable[CellRecord]) -> bool:
    return any(each.outcome is Outcome.FAIL for each in cells)


def _counted(verb: str, shares: Iterable[Share], total: int, how: str) -> str:
    count = sum(len(share.names) for share in shares)
    if not total:
        return f"{verb} nothing: no test {'fails' if how == 'failing' else 'passes'} without it"
    return f"{verb} {count or 'none'} of {count_tests(total, how)}"


def count_tests(number: int, how: str = "") -> str:
    """Count tests in words, such as "1 test" or "3 failing tests"."""
    noun = "test" if number == 1 else "tests"
    return f"{number} {how} {noun}" if how else f"{number} {noun}"
