# SPDX-License-Identifier: GPL-2.0-only
"""summary.md: the run for people who read it on a web page, in GitHub's Markdown."""

from __future__ import annotations

import html
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.report.effect import effects
from kstep.report.grid import Grid, grids
from kstep.report.story import called, headline, look_first, remarks, surprise
from kstep.results.cell import cell_name
from kstep.results.printable import printable
from kstep.results.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kstep.report.effect import Effect
    from kstep.results.cell import CellRecord
    from kstep.results.record import Record

MANY = 30  # rows; a longer table is folded
LINES = 20  # of the console, for each fault
MOST = 1024 * 1024 - 64 * 1024  # bytes: GitHub allows a MiB per step, and others may add theirs


def summary(record: Record) -> str:
    """Return summary.md, to write in UTF-8."""
    lines = [f"# kstep: {_plain(record.run.id)}", "", f"**{_plain(headline(record.cells))}**"]
    if (first := look_first(record)) is not None:
        lines[-1] += f" Look first at {_plain(f'{called(record, first.cell)}: {surprise(first)}')}."
    lines.append("")
    for effect in effects(record):
        lines += _effect(effect)
    lines += [f"- {_plain(line)}" for line in remarks(record)]
    for grid in grids(record):
        lines += ["", *_folded(grid)]
    lines += ["", "Tests in **bold** are not as expected.", ""]
    provenance = [*_provenance(record), ""]
    room = MOST - sum(len(line.encode()) + 1 for line in (*lines, *provenance))
    return "\n".join([*lines, *_unmatched(record, room), *provenance])


def _effect(effect: Effect) -> Iterator[str]:
    """List what a variant fixes and breaks, by area, with the names of broken tests."""
    yield f"- **{_plain(effect.label)}**"
    for line, shares, named in (
        (effect.fixed, effect.fixes, False),
        (effect.broken, effect.breaks, True),
    ):
        if line:
            yield f"  - {_plain(line)}{':' if shares else ''}"
        for share in shares:
            names = f": {', '.join(share.said)}" if named and share.area else ""
            yield f"    - {_plain(share.short + names)}"
    for line in (effect.rest, *effect.rates):
        yield f"  - {_plain(line)}"


def _folded(grid: Grid) -> Iterator[str]:
    """Format a table, folded if it is long."""
    yield f"## {_plain(grid.setup.title)}"
    yield ""
    fold = len(grid.names) > MANY
    if fold:
        yield f"<details><summary>all {len(grid.names)} tests</summary>"
        yield ""
    yield from _table(grid)
    if fold:
        yield ""
        yield "</details>"


def _table(grid: Grid) -> Iterator[str]:
    yield _row(["test", *map(_plain, grid.variants)])
    yield _row(["---"] * (len(grid.variants) + 1))
    for session, case in grid.names:
        name = cell_name(session, case)
        cells = [grid.cells.get((session, case, variant), []) for variant in grid.variants]
        yield _row([_plain(name), *map(_marks, cells)])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _marks(cells: Sequence[CellRecord]) -> str:
    """Describe all repeats of a cell, with counts if there are several, and with a rate."""
    counted = Counter(map(_mark, cells))
    if len(cells) == 1:
        return _mark(cells[0])
    counts = ", ".join(f"{count} {word}" for word, count in counted.most_common()) or "not run"
    rate = Rate.of(each.outcome for each in cells)
    return f"{counts}: passes {rate}" if rate.varies else counts


def _mark(each: CellRecord) -> str:
    if each.outcome is Outcome.ERROR:
        return f"**no verdict: {each.seen}**"
    if not each.matched:
        return f"**{each.seen}**"
    if each.outcome is Outcome.PASS:
        return each.seen
    return f"{each.seen} ({'unpatched too' if each.held else 'expected'})"


def _unmatched(record: Record, room: int) -> list[str]:
    """List unexpected results; repeats with the same result are listed once.

    Results that do not fit into ``room`` bytes are only counted.
    """
    alike: dict[tuple[str, str, str], list[CellRecord]] = defaultdict(list)
    for each in record.cells:
        if not each.matched:
            alike[each.cell.column, each.cell.name, each.seen].append(each)
    lines = ["## Not as expected", ""] if alike else []
    left = len(alike)
    for _, group in sorted(alike.items()):
        told = [*_told(record, group), ""]
        room -= sum(len(line.encode()) + 1 for line in told)
        if room < 0:
            break
        lines += told
        left -= 1
    if left:
        lines += [f"And {left} more, which do not fit here: see report.html.", ""]
    return lines


def _told(record: Record, group: Sequence[CellRecord]) -> Iterator[str]:
    """Describe repeats with the same result, with the console of the first."""
    first = min(group, key=lambda each: each.cell.repeat)
    times = f", {len(group)} times" if len(group) > 1 else ""
    yield f"### {_plain(first.cell.column)}: {_plain(first.cell.name)}"
    yield ""
    yield f"**{_plain(surprise(first))}**{times}: {_plain(first.message)}"
    tail = record.tail(first, LINES)
    if tail:
        yield ""
        yield "<details><summary>the last lines of the console</summary>"
        yield ""
        # In <pre> nothing is Markdown, and an escaped line cannot end it.
        yield "<pre>"
        yield from (html.escape(line, quote=False) for line in tail)
        yield "</pre>"
        yield ""
        yield "</details>"


def _provenance(record: Record) -> Iterator[str]:
    run = record.run
    yield "## Made with"
    yield ""
    yield f"- kstep {_plain(run.kstep_version)}, {_plain(run.started)}, {run.seconds:.0f} s"
    for each in record.toolchains:
        yield f"- {each.kind} toolchain: {_plain(each.gcc)}; {_plain(each.qemu)}"
    for tree in record.trees:
        yield f"- {_plain(tree.id)}: {_plain(tree.version)}"


_MARKUP = re.compile(r"([\\`*_\[\]|~#$])")


def _plain(text: str) -> str:
    """``text`` in one line, with Markdown and HTML escaped."""
    return _MARKUP.sub(r"\\\1", html.escape(" ".join(printable(text).split()), quote=False))
