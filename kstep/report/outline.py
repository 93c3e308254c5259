# SPDX-License-Identifier: GPL-2.0-only
"""The outline of a page: its parts, blocks, cases and tests, with everything that they show."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from kstep.base.outcome import Outcome
from kstep.report import command, curve, story
from kstep.report.anchor import anchor
from kstep.report.area import area
from kstep.report.effect import effects
from kstep.report.grid import grids
from kstep.report.picture import Pictures
from kstep.report.table import letter, mark
from kstep.results.printable import printable
from kstep.results.rate import Rate
from kstep.results.trace import read, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kstep.report.effect import Effect, Share
    from kstep.report.grid import Grid
    from kstep.results.cell import Cell, CellRecord
    from kstep.results.provenance import SessionRecord
    from kstep.results.record import Record

STATES = ("pass", "known", "error", "wrong")  # of cells, the most important last
SURPRISES = ("error", "wrong")
ALIKE = 3  # cases with the same marks that share a row
GIST = 200  # characters, of which a page shows as many as fit
SCRIPT = 8192  # characters of a script, which has about a thousand
LONG, BRIEF = 40, 15  # last lines of the console: of an unexpected cell, and of others


@dataclass(frozen=True)
class Opened:
    """The details of a cell.

    ``logs`` are further files, with their names; ``walk`` is the number of its picture;
    ``machine`` is the script that boots its machine by hand, empty if there is none.
    """

    record: CellRecord
    state: str
    mark: str
    happened: str
    expectation: str
    command: str
    console: tuple[str, ...]
    console_file: str
    trace_file: str
    logs: tuple[tuple[str, str], ...]
    walk: int | None
    machine: str
    machine_file: str

    @property
    def gist(self) -> str:
        """What was seen, in one line, which is shown while the cell is closed."""
        return " ".join(self.happened.split())[:GIST]


@dataclass(frozen=True)
class Shown:
    """All repeats of a cell; ``marks`` are the words for them, each with its style.

    ``letter`` represents them in the map: that of the most important repeat.
    """

    id: str
    name: str
    column: str
    variant: str
    state: str
    letter: str
    marks: tuple[tuple[str, str], ...]
    rate: Rate
    repeats: tuple[Opened, ...]

    @property
    def outcome(self) -> str:
        """``pass`` or ``fail``, if any repeat failed; ``error`` if there is no verdict."""
        outcomes = {each.record.outcome for each in self.repeats}
        for outcome in (Outcome.FAIL, Outcome.ERROR):
            if outcome in outcomes:
                return outcome
        return Outcome.PASS

    @property
    def words(self) -> str:
        """The marks in one line."""
        return ", ".join(word for word, _ in self.marks)

    @property
    def gist(self) -> str:
        """The state of the most important repeat."""
        return max(self.repeats, key=lambda each: STATES.index(each.state)).gist


@dataclass(frozen=True)
class Case:
    """A row of the table: a case of a session, or a session without cases.

    ``cells`` has None for a variant that did not run it.
    """

    name: str | None
    cells: tuple[Shown | None, ...]

    @property
    def surprises(self) -> bool:
        """Whether a result in it is unexpected."""
        return any(each.state in SURPRISES for each in self.cells if each is not None)

    @property
    def marks(self) -> tuple[object, ...]:
        """The content of the row: rows with the same content can be merged."""
        return tuple(each and (each.marks, each.rate) for each in self.cells)


@dataclass(frozen=True)
class Block:
    """One session on one setup, with the charts of its rates, if it has any.

    ``rates`` is how often its cells passed, ``curve`` a rate against the time of a step.

    ``area`` is its subject; empty if it states none.
    """

    name: str
    area: str
    id: str
    session: SessionRecord | None
    cases: tuple[Case, ...]
    rates: int | None
    curve: int | None

    @property
    def surprises(self) -> bool:
        """Whether a result in it is unexpected."""
        return any(case.surprises for case in self.cases)

    @property
    def rows(self) -> list[tuple[str, Case, str]]:
        """Return the rows of the table: the name, the marks, the target of their links.

        Three or more cases with the same content are one row, which links to the session; an
        empty target means that the cells have their own.
        """
        ((common, count),) = Counter(case.marks for case in self.cases).most_common(1)
        if count < ALIKE:
            return [(case.name or "", case, "") for case in self.cases]
        alike = [case for case in self.cases if case.marks == common]
        others = [case for case in self.cases if case.marks != common]
        which = "the other" if others else "all"
        return [
            *((case.name or "", case, "") for case in others),
            (f"{which} {count} cases", alike[0], self.id),
        ]


@dataclass(frozen=True)
class Panel:
    """The map of one area: ``rows`` has for each variant the result of each test, in order."""

    area: str
    rows: tuple[tuple[str, tuple[Shown | None, ...]], ...]


@dataclass(frozen=True)
class Part:
    """One setup: a map, a table, and a block for each session."""

    grid: Grid
    blocks: tuple[Block, ...]

    @property
    def areas(self) -> list[tuple[str, list[Block]]]:
        """The blocks by area, in their order."""
        return [
            (name, list(blocks)) for name, blocks in groupby(self.blocks, lambda each: each.area)
        ]

    @property
    def panels(self) -> list[Panel]:
        """The map, a panel for each area."""
        return [
            Panel(
                name,
                tuple(
                    (variant, tuple(case.cells[n] for block in blocks for case in block.cases))
                    for n, variant in enumerate(self.grid.variants)
                ),
            )
            for name, blocks in self.areas
        ]

    @property
    def letters(self) -> dict[str, str]:
        """The letters of the map for faults, each with its signature."""
        return {
            letter(each).lower(): str(each.signature)
            for cells in self.grid.cells.values()
            for each in cells
            if each.outcome is Outcome.FAIL and each.signature is not None
        }

    @property
    def choice(self) -> dict[str, object]:
        """The data with which the page's script compares two variants.

        ``tests`` has the name of each test, and for each variant an index into ``cells``, which
        has outcome, state and words; -1 if it was not run.
        """
        seen: dict[tuple[str, str, str], int] = {}
        tests = []
        for block in self.blocks:
            for case in block.cases:
                row = [
                    -1
                    if each is None
                    else seen.setdefault((each.outcome, each.state, each.words), len(seen))
                    for each in case.cells
                ]
                name = next(each.name for each in case.cells if each is not None)
                addresses = [each and each.id for each in case.cells]
                tests.append([printable(name), row, addresses])
        return {
            "variants": [printable(variant) for variant in self.grid.variants],
            "seen": list(seen),
            "tests": tests,
        }


class Outline:
    """The parts of a page, with the pictures and charts of rates of their cells.

    ``pictures``, ``rates`` and ``curves`` are the data for the page's script, by number.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.pictures = Pictures()
        self.rates: list[dict[str, object]] = []
        self.curves: list[dict[str, object]] = []
        self._lines = functools.cache(read_lines)
        self._number = 0
        self.effects = effects(record)
        self.parts = tuple(map(self._part, grids(record)))

    def _part(self, grid: Grid) -> Part:
        blocks = [
            self._block(grid, session, [case for _, case in names])
            for session, names in groupby(grid.names, key=lambda name: name[0])
        ]
        return Part(grid, tuple(blocks))

    def _block(self, grid: Grid, session: str, cases: Sequence[str | None]) -> Block:
        self._number += 1
        shown = tuple(
            Case(
                case,
                tuple(
                    self._shown(grid, grid.cells.get((session, case, variant), []))
                    for variant in grid.variants
                ),
            )
            for case in cases
        )
        return Block(
            name=session,
            area=area(self.record, session),
            id=f"s{self._number}",
            session=self.record.sessions.get(session),
            cases=shown,
            rates=self._rates(shown) if grid.repeats > 1 else None,
            curve=self._curve(
                each
                for case in cases
                for variant in grid.variants
                for each in grid.cells.get((session, case, variant), [])
            ),
        )

    def _shown(self, grid: Grid, cells: Sequence[CellRecord]) -> Shown | None:
        if not cells:
            return None
        ordered = sorted(cells, key=lambda each: each.cell.repeat)
        worst = max(ordered, key=lambda each: STATES.index(state(each)))
        counted = Counter((mark(each), state(each)) for each in ordered)
        times = len(counted) > 1 or len(cells) != grid.repeats
        return Shown(
            id=anchor(ordered[0].cell),
            name=ordered[0].cell.name,
            column=grid.setup.name,
            variant=ordered[0].cell.variant,
            state=state(worst),
            letter=letter(worst),
            marks=tuple(
                (f"{word} x{count}" if times else word, how)
                for (word, how), count in counted.most_common()
            ),
            rate=Rate.of(each.outcome for each in ordered),
            repeats=tuple(map(self._opened, ordered)),
        )

    def _opened(self, each: CellRecord) -> Opened:
        record = self.record
        steps = read(record.path(each, "trace"))
        return Opened(
            record=each,
            state=state(each),
            mark=mark(each),
            happened=story.happened(each),
            expectation=story.expectation(each),
            command=command.narrowed(record, each.cell),
            console=tuple(record.tail(each, BRIEF if each.matched else LONG)),
            console_file=self._link(each, "console_log"),
            trace_file=self._link(each, "trace") if steps else "",
            logs=tuple(
                (Path(file).name, self._link(each, name))
                for name, file in each.files.items()
                if name.endswith("_log") and name != "console_log" and record.path(each, name)
            ),
            walk=self.pictures.add(steps, self._lines(record.path(each, "lines"))),
            machine=_script(record.path(each, "qemu")),
            machine_file=self._link(each, "qemu"),
        )

    def named(self, effect: Effect, share: Share) -> list[tuple[str, str]]:
        """Return the tests of a share, each with the id of its cell."""
        cells = self._by_name[effect.column]
        return [(name, anchor(cells[name])) for name in share.names]

    @functools.cached_property
    def _by_name(self) -> dict[str, dict[str, Cell]]:
        found: dict[str, dict[str, Cell]] = defaultdict(dict)
        for each in self.record.cells:
            found[each.cell.column][each.cell.name] = each.cell
        return found

    def _link(self, each: CellRecord, name: str) -> str:
        """Return the address of a cell's file relative to report.html; empty if it is missing."""
        if self.record.path(each, name) is None:
            return ""
        return quote(each.files[name], safe="/=,+~")

    def _rates(self, cases: Sequence[Case]) -> int:
        rows = []
        for case in cases:
            for each in case.cells:
                if each is not None and each.rate.total:
                    low, high = each.rate.interval()
                    rows.append(
                        {
                            "case": printable(case.name or ""),
                            "variant": printable(each.variant),
                            "passes": each.rate.passes,
                            "total": each.rate.total,
                            "low": round(low, 4),
                            "high": round(high, 4),
                        }
                    )
        self.rates.append({"rows": rows})
        return len(self.rates) - 1

    def _curve(self, cells: Iterable[CellRecord]) -> int | None:
        if not (found := curve.points(cells)):
            return None
        self.curves.append({"points": found})
        return len(self.curves) - 1


def state(each: CellRecord) -> str:
    """Return the state of a cell: a pass, a known fault, no verdict, or a surprise."""
    if each.outcome is Outcome.ERROR:
        return "error"
    if not each.matched:
        return "wrong"
    return "pass" if each.outcome is Outcome.PASS else "known"


def _script(path: Path | None) -> str:
    """Read a script to show; empty if there is none."""
    if path is None:
        return ""
    try:
        return printable(path.read_text("utf-8", "replace")[:SCRIPT]).strip("\n")
    except OSError:
        return ""
