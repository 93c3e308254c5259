# SPDX-License-Identifier: GPL-2.0-only
"""The table on the terminal: sessions down, variants across, a mark for each cell.

Marks are readable without colour: ``pass`` and ``(stuck)`` are as expected, ``pass!`` and
``stuck!`` are not, ``?boot`` is no verdict. Below the table is the effect of each variant.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kstep.base.outcome import Outcome, Signature
from kstep.report.effect import effects
from kstep.report.grid import grids
from kstep.report.story import remarks
from kstep.results.printable import printable
from kstep.results.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from kstep.report.grid import Grid
    from kstep.results.cell import CellRecord
    from kstep.results.record import Record

# Short forms of signatures with more than five letters, so that seven variants fit.
SHORT = {
    Signature.ENTERS_INTERRUPT: "irq",
    Signature.ENTERS_EXCEPTION: "exc",
    Signature.OFF_ORDER: "order",
    Signature.RUNAWAY: "away",
    Signature.STEP_FLOOD: "flood",
    Signature.LOST_PREEMPTION: "preem",
    Signature.MISSED_HITS: "miss",
    Signature.DOUBLE_HITS: "twice",
    Signature.MASKED_INTERRUPTS: "mask",
    Signature.LIVELOCK: "live",
    Signature.WRONG_REGISTERS: "regs",
    Signature.WRONG_MEMORY: "mem",
    Signature.WRONG_RESULT: "res",
    Signature.NO_BOOT: "boot",
    Signature.CONSOLE_LOST: "cons",
    Signature.MACHINE_DIED: "died",
    Signature.INFRASTRUCTURE: "infra",
}
# One letter for each, if there is no room for more; upper case is unexpected.
LETTERS = {
    Signature.STUCK: "s",
    Signature.ENTERS_INTERRUPT: "i",
    Signature.ENTERS_EXCEPTION: "e",
    Signature.OFF_ORDER: "o",
    Signature.RUNAWAY: "a",
    Signature.REHIT: "r",
    Signature.STEP_FLOOD: "f",
    Signature.LOST_PREEMPTION: "p",
    Signature.MISSED_HITS: "m",
    Signature.DOUBLE_HITS: "d",
    Signature.MASKED_INTERRUPTS: "k",
    Signature.LIVELOCK: "l",
    Signature.WRONG_REGISTERS: "g",
    Signature.WRONG_MEMORY: "y",
    Signature.WRONG_RESULT: "w",
    Signature.SPLAT: "c",
    Signature.PANIC: "n",
    Signature.HANG: "h",
}
STYLES = {"p": "green", "(": "yellow", "?": "magenta"}
LEGEND = (
    "pass, (fault): as expected. pass!, fault!: not as expected, or no expectation and the"
    " kernel failed. fault=: no expectation; the unpatched kernel fails too. ?error: no"
    " verdict. -: not run."
)
REPEATS = (
    " A mark without a count holds for every repeat; 50% (30-70): so many passed, and the 95 %"
    " interval of the rate."
)
NAMES = 16  # columns of the terminal for the sessions, at least
MARKS = 7  # the width of the widest mark, (stuck)


def table(record: Record, width: int) -> Group:
    """Draw the run for a terminal ``width`` characters wide, from about 30 on."""
    said: list[RenderableType] = []
    for effect in effects(record):
        said.append(Text(printable(effect.label), "bold"))
        said += [
            Padding(Text(printable(line)), (0, 0, 0, 2), expand=False) for line in effect.lines
        ]
    said += [Text(printable(line)) for line in remarks(record)]
    return Group(tables(record, width), Text(legend(record), "dim"), Text(), *said)


def tables(record: Record, width: int) -> Group:
    """Draw the tables alone.

    Cases that all have the same marks share one line; otherwise each has its own. If the
    variants do not fit side by side, another table below continues.
    """
    parts: list[Table | Text] = []
    for grid in grids(record):
        for variants in _abreast(grid, width):
            parts += [_heading(grid), _table(grid, variants, width), Text()]
    return Group(*parts)


def legend(record: Record) -> str:
    """Explain the marks, and the short forms of signatures among them."""
    repeated = any(each.cell.repeat > 1 for each in record.cells)
    used = {each.signature for each in record.cells if each.signature in SHORT}
    words = [f"{SHORT[signature]} = {signature}" for signature in sorted(used - {None})]
    return LEGEND + REPEATS * repeated + (f"\n{', '.join(words)}." if words else "")


def mark(each: CellRecord) -> str:
    """Return the result of a cell in one word, marked if it was unexpected."""
    word = each.seen if each.signature is None else SHORT.get(each.signature, each.seen)
    if each.outcome is Outcome.ERROR:
        return f"?{word}"
    if not each.matched:
        return f"{word}!"
    if each.held and each.outcome is Outcome.FAIL:
        return f"{word}="
    return word if each.outcome is Outcome.PASS else f"({word})"


def letter(each: CellRecord) -> str:
    """Return the result of a cell in one letter: ``·`` passes, ``!`` passes unexpectedly.

    A fault has its letter, in upper case if it is unexpected; ``?`` is no verdict.
    """
    if each.outcome is Outcome.ERROR:
        return "?"
    if each.outcome is Outcome.PASS:
        return "·" if each.matched else "!"
    found = "x" if each.signature is None else LETTERS[each.signature]
    return found if each.matched else found.upper()


def _marks(cells: Sequence[CellRecord], repeats: int) -> list[str]:
    """Mark all repeats of a cell: one mark, or counts if they differ or some are missing.

    If only some passed, the rate follows.
    """
    counted = Counter(map(mark, cells)).most_common()
    if len(counted) == 1 and len(cells) == repeats:
        return [counted[0][0]]
    rate = Rate.of(each.outcome for each in cells)
    counts = [f"{word} x{count}" for word, count in counted]
    return [*counts, str(rate)] if rate.varies else counts


def _abreast(grid: Grid, width: int) -> list[dict[str, int]]:
    """Divide the variants among as few tables as ``width`` allows, with their widths."""
    marks: dict[str, list[str]] = {variant: [] for variant in grid.variants}
    for (*_, variant), cells in grid.cells.items():
        marks[variant] += _marks(cells, grid.repeats)
    wide = {variant: max(map(len, [variant, *marks[variant]])) for variant in grid.variants}
    if NAMES + sum(wide.values()) + len(wide) <= width:
        return [wide]
    tables: list[dict[str, int]] = [{}]
    for variant in grid.variants:
        narrow = max(MARKS, *(len(word) for each in marks[variant] for word in each.split()))
        if tables[-1] and NAMES + sum(tables[-1].values()) + len(tables[-1]) + narrow + 1 > width:
            tables.append({})
        tables[-1][variant] = narrow
    return tables


def _table(grid: Grid, variants: dict[str, int], width: int) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    # Every width is set, so that rich has no reason to cut anything.
    names = [name for session, case in grid.names for name in (session, f"  {case}")]
    room = width - sum(variants.values()) - len(variants)
    drawn.add_column("", width=min(room, max(map(len, names))), overflow="fold")
    for variant, wide in variants.items():
        drawn.add_column(Text(printable(variant)), width=wide, overflow="fold")
    for session, rows in groupby(grid.names, key=lambda name: name[0]):
        marks = {
            case: [_cell(grid.cells.get((session, case, v), ()), grid.repeats) for v in variants]
            for _, case in rows
        }
        heading = Text(printable(session), "bold")
        drawn.add_row(heading, *marks.pop(None, []))
        first, *others = marks.values() or [[]]
        if others and all(row == first for row in others):
            marks = {f"all {len(marks)} cases": first}
        for case, row in marks.items():
            drawn.add_row(Text(f"  {printable(str(case))}"), *row)
    return drawn


def _cell(cells: Sequence[CellRecord], repeats: int) -> Text:
    marks = (Text(word, style(word)) for word in _marks(cells, repeats))
    return Text("\n").join(marks) or Text("-")


def style(word: str) -> str:
    """Return the style of a mark."""
    return "bold red" if "!" in word else STYLES.get(word[0], "")


def _heading(grid: Grid) -> Text:
    times = f", {grid.repeats} repeats" if grid.repeats > 1 else ""
    return Text(printable(f"{grid.setup.title}{times}"), "bold")
