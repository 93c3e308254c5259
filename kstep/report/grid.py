# SPDX-License-Identifier: GPL-2.0-only
"""The cells of a run in the order of every report: tests down by area, variants across."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.report.area import area, rank
from kstep.results.verdict import order

if TYPE_CHECKING:
    from kstep.results.cell import CellRecord
    from kstep.results.record import Record
    from kstep.results.setup import Setup


@dataclass(frozen=True)
class Grid:
    """The cells of one setup; ``cells`` by cell name and variant, all repeats."""

    setup: Setup
    variants: tuple[str, ...]
    names: tuple[tuple[str, str | None], ...]  # session and case
    cells: dict[tuple[str, str | None, str], list[CellRecord]]

    @property
    def repeats(self) -> int:
        """The most repeats of a cell; some have fewer during a run."""
        return max(map(len, self.cells.values()))


def grids(record: Record) -> list[Grid]:
    """Sort the cells into one grid for each setup."""

    def key(name: tuple[str, str | None]) -> tuple[object, ...]:
        session, case = name
        return rank(area(record, session)), session, case or ""

    sources: dict[Setup, dict[tuple[str, str | None, str], list[CellRecord]]]
    sources = defaultdict(lambda: defaultdict(list))
    for each in record.cells:
        cell = each.cell
        sources[cell.setup][cell.session, cell.case, cell.variant].append(each)
    return [
        Grid(
            setup,
            tuple(sorted({variant for *_, variant in cells}, key=order)),
            tuple(sorted({(session, case) for session, case, _ in cells}, key=key)),
            dict(cells),
        )
        for setup, cells in sorted(sources.items(), key=lambda item: item[0].parts)
    ]


def columns(record: Record) -> dict[str, list[CellRecord]]:
    """Sort the cells by column; the columns and their cells keep their order."""
    found: dict[tuple[Setup, str], list[CellRecord]] = defaultdict(list)
    for each in record.cells:
        found[each.cell.setup, each.cell.variant].append(each)
    return {
        f"{setup.name}/{variant}": sorted(
            found[setup, variant], key=lambda each: (each.cell.name, each.cell.repeat)
        )
        for setup, variant in sorted(found, key=lambda key: (key[0].parts, order(key[1])))
    }
