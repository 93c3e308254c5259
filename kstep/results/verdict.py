# SPDX-License-Identifier: GPL-2.0-only
"""What the patches changed, and the exit status that follows from the cells."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Protocol

from kstep.base.outcome import Outcome
from kstep.results.cell import BASE
from kstep.results.rate import Rate, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kstep.results.cell import Cell

FEW = 2  # cases of one session that a sentence names


class Judged(Protocol):
    """A cell and what came of it; ``matched`` says whether that was expected."""

    @property
    def cell(self) -> Cell:
        """The cell."""

    @property
    def outcome(self) -> Outcome:
        """How it went."""

    @property
    def matched(self) -> bool:
        """Whether it went as predicted, or no worse than with ``none`` where nobody did."""


def verdict(cells: Iterable[Judged]) -> dict[str, dict[str, list[str]]]:
    """Compare every variant with ``none``, cell name by cell name; expectations play no part.

    The keys are ``<tree>/<kconfig>/<variant>``, the values the sorted names under ``fixed``,
    ``regressed`` and ``unchanged``. A name fails where any repeat failed and passes where all
    passed. It is in no list where it has an error and no failure, or ran on one side only. Two
    ways to fail count as unchanged.
    """
    outcomes: dict[tuple[str, str, str], dict[str, set[Outcome]]] = defaultdict(
        lambda: defaultdict(set)
    )
    for record in cells:
        cell = record.cell
        outcomes[cell.tree, cell.kconfig, cell.variant][cell.name].add(record.outcome)
    worked = {
        column: {name: works for name, seen in names.items() if (works := _works(seen)) is not None}
        for column, names in outcomes.items()
    }

    found = {}
    for tree, kconfig, variant in sorted(worked, key=lambda key: (*key[:2], order(key[2]))):
        if variant == BASE or (tree, kconfig, BASE) not in worked:
            continue
        before, after = worked[tree, kconfig, BASE], worked[tree, kconfig, variant]
        names = sorted(before.keys() & after.keys())
        found[f"{tree}/{kconfig}/{variant}"] = {
            "fixed": [name for name in names if after[name] and not before[name]],
            "regressed": [name for name in names if before[name] and not after[name]],
            "unchanged": [name for name in names if before[name] == after[name]],
        }
    return found


def chances(cells: Iterable[Judged]) -> dict[str, list[str]]:
    """Say of every name that varies, in a variant or in ``none``, how it does in both.

    The keys are those of ``verdict``; p is Fisher's exact test of the two rates.
    """
    outcomes: dict[tuple[str, str, str], dict[str, list[Outcome]]]
    outcomes = defaultdict(lambda: defaultdict(list))
    for record in cells:
        cell = record.cell
        outcomes[cell.tree, cell.kconfig, cell.variant][cell.name].append(record.outcome)
    said = {}
    for (tree, kconfig, variant), names in outcomes.items():
        base = outcomes.get((tree, kconfig, BASE), {})
        pairs = [(n, Rate.of(base[n]), Rate.of(names[n])) for n in sorted(base.keys() & names)]
        said[f"{tree}/{kconfig}/{variant}"] = [
            f"{name} passes {after}, with {BASE} {before}, p = {compare(before, after):.2g}."
            for name, before, after in pairs
            if before.total and after.total and (before.varies or after.varies)
        ]
    return said


def order(variant: str) -> tuple[object, ...]:
    """Sort key of variants: ``none``, v5/1, v5/2, v5/10, v5/1+2, v6/1, ..."""
    series, _, patches = variant.rpartition("/")
    return variant != BASE, series, patches.count("+"), len(patches), patches


def exit_status(cells: Iterable[Judged]) -> int:
    """0 every cell matched; 1 some cell did not; 3 there is no verdict on some, or no cell.

    A kernel that did other than predicted (1) outranks cells without a verdict (3): what was
    found stays found, whatever happened elsewhere.
    """
    records = list(cells)
    if any(not record.matched and record.outcome is not Outcome.ERROR for record in records):
        return 1
    if not records or any(record.outcome is Outcome.ERROR for record in records):
        return 3
    return 0


def sentences(cells: Sequence[Judged]) -> list[str]:
    """Say the verdict, a line for each of its entries."""
    varying = chances(cells)
    return [
        " ".join((sentence(column, entry), *varying[column]))
        for column, entry in verdict(cells).items()
    ]


def sentence(column: str, entry: Mapping[str, Sequence[str]]) -> str:
    """Say one entry of the verdict in a line; the cases of a session are counted, a few named."""
    total = sum(map(len, entry.values()))
    if not total:
        return f"{column}: nothing to compare with {BASE}, no session has a verdict on both."
    fixed, regressed = (_names(entry[kind], entry) for kind in ("fixed", "regressed"))
    unchanged = len(entry["unchanged"])
    if not fixed and not regressed:
        return f"{column} changes nothing: {_count(total)} as with {BASE}."
    return (
        f"{column} fixes {fixed or 'nothing'}; breaks {regressed or 'nothing'}; "
        f"leaves {unchanged} of {_count(total)} as with {BASE}."
    )


def _works(seen: set[Outcome]) -> bool | None:
    """Whether all repeats passed; None where nobody can say."""
    if Outcome.FAIL in seen:
        return False
    return None if Outcome.ERROR in seen else True


def _count(number: int) -> str:
    return f"{number} session" if number == 1 else f"{number} sessions"


def _names(names: Sequence[str], entry: Mapping[str, Sequence[str]]) -> str:
    """Join the names; where a session has many, say how many of its cases they are."""
    sessions = Counter(_session(name) for kind in entry.values() for name in kind)
    said = []
    for session, group in itertools.groupby(names, _session):
        found = list(group)
        if len(found) <= FEW:
            said += found
        else:
            total = sessions[session]
            said.append(
                f"{session} ({'all' if len(found) == total else f'{len(found)} of'} {total})"
            )
    return ", ".join(said)


def _session(name: str) -> str:
    return name.partition("[")[0]
