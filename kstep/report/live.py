# SPDX-License-Identifier: GPL-2.0-only
"""The table on a terminal during a run: it grows as cells end, with surprises on top."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.text import Text

from kstep.base.outcome import Outcome
from kstep.report import story
from kstep.report.table import MARKS, mark, style
from kstep.results.printable import printable
from kstep.results.verdict import order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kstep.results.cell import CellRecord
    from kstep.results.record import Record

NAMES = 16  # columns for the sessions, at least
LEAST = 4  # lines; a shorter table is useless


def so_far(record: Record, width: int, height: int) -> Text:
    """Show the cells that have ended, in at most ``height`` lines of ``width`` columns.

    First each unexpected result; then a row for each session, those with surprises first, then
    the latest. For each variant a row shows the mark that all cases share, or how many passed.
    """
    wrong = [each for each in record.cells if not each.matched]
    lines = _surprises(record, wrong, width, height // 2)
    room = height - len(lines)
    if room >= LEAST:
        lines += _table(record, width, room)
    return Text("\n").join(lines[:height])


def _surprises(record: Record, wrong: Sequence[CellRecord], width: int, height: int) -> list[Text]:
    told = wrong if len(wrong) <= height else wrong[: max(0, height - 1)]
    lines = [
        _cut(f"! {story.called(record, each.cell)}: {story.surprise(each)}", "bold red", width)
        for each in told
    ]
    if more := len(wrong) - len(told):
        lines.append(_cut(f"! and {more} more not as expected", "bold red", width))
    return lines


def _table(record: Record, width: int, height: int) -> list[Text]:
    rows: dict[str, dict[str, list[CellRecord]]] = defaultdict(lambda: defaultdict(list))
    several = len({each.cell.setup for each in record.cells}) > 1
    for each in record.cells:
        cell = each.cell
        above = f"{cell.setup.name} " * several
        rows[above + cell.session][cell.variant].append(each)
    variants = sorted({each.cell.variant for each in record.cells}, key=order)
    variants = variants[: max(1, (width - NAMES) // (MARKS + 1))]
    names = min(max(map(len, rows), default=0), width - len(variants) * (MARKS + 1))
    surprising = {name for name, cells in rows.items() if not all(map(_well, cells.values()))}
    first = [name for name in rows if name in surprising][: height - 1]
    others = [name for name in rows if name not in surprising]
    room = height - 1 - len(first)
    if len(others) > room:
        others = others[len(others) - max(0, room - 1) :] if room > 1 else []
    hidden = len(rows) - len(first) - len(others)

    def row(name: str) -> Text:
        return _row(name, [_mark(rows[name].get(each, ())) for each in variants], names, width)

    head = _row("", [(variant, "dim") for variant in variants], names, width)
    more = [_cut(f"({hidden} more)", "dim", width)] if hidden else []
    return [head, *map(row, first), *more, *map(row, others)]


def _well(cells: Sequence[CellRecord]) -> bool:
    return all(each.matched for each in cells)


def _mark(cells: Sequence[CellRecord]) -> tuple[str, str]:
    """Return the text for the cells that have ended, and its style."""
    marks = {mark(each) for each in cells}
    if not marks:
        return "", ""
    if len(marks) == 1:
        (word,) = marks
        return word, style(word)
    passed = sum(each.outcome is Outcome.PASS for each in cells)
    return f"{passed}/{len(cells)}", "" if _well(cells) else style("!")


def _row(name: str, marks: Sequence[tuple[str, str]], names: int, width: int) -> Text:
    line = _cut(name, "", names)
    line.pad_right(names - line.cell_len)
    for word, how in marks:
        line.append(" ")
        line.append(_plain(word)[:MARKS].ljust(MARKS), how)
    line.truncate(width)
    return line


def _plain(text: str) -> str:
    return " ".join(printable(text).split())


def _cut(text: str, how: str, width: int) -> Text:
    line = Text(_plain(text), how, no_wrap=True)
    line.truncate(max(0, width), overflow="ellipsis")
    return line
