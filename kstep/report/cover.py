# SPDX-License-Identifier: GPL-2.0-only
"""cover-letter.txt: the mail that goes before the patches of a series that is to be sent.

It has the form of git format-patch --cover-letter: the text of the series, what was measured with
all of its patches, the subjects, and the files that they change, as in the newest tree of the run.
It is made for series whose series.yaml has a ``cover``.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.report import reply
from kstep.report.effect import count_tests, effects
from kstep.results.cell import BASE
from kstep.results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.results.cell import CellRecord
    from kstep.results.provenance import KernelRecord, SeriesRecord
    from kstep.results.record import Record

REVISION = re.compile(r"v\d+")
AUTHOR = "YOUR NAME"
WIDTH = 79  # columns of a line that names a changed file


def cover(record: Record) -> str:
    """Return the letters of the run's series, to write in UTF-8; "" if there is none."""
    return "".join(
        "\n".join(_letter(record, series, kernels))
        for series in record.series.values()
        if series.cover
        and (kernels := [each for each in record.kernels if each.variant == series.whole])
    )


def _letter(record: Record, series: SeriesRecord, kernels: list[KernelRecord]) -> Iterator[str]:
    count = len(series.patches)
    revision = f" {series.name}" if REVISION.fullmatch(series.name) else ""
    subject = printable(series.subject or series.name)
    yield f"Subject: [PATCH{revision} {0:0{len(str(count))}}/{count}] {subject}"
    yield ""
    yield from printable(series.cover or "").rstrip("\n").split("\n")
    yield ""
    yield from _measured(record, kernels)
    yield ""
    yield f"{AUTHOR} ({count}):"
    yield from (f"  {printable(each.subject)}" for each in series.patches)
    yield ""
    yield from _changes(series, kernels[-1])
    yield ""
    yield "-- "
    yield f"measured with kstep {printable(record.run.kstep_version)}"
    yield ""


def _measured(record: Record, kernels: list[KernelRecord]) -> Iterator[str]:
    """Describe the effect of the whole series on each tree and configuration."""
    known = {effect.column: effect for effect in effects(record)}
    for kernel in kernels:
        column = kernel.column
        cells = [each for each in record.cells if each.cell.column == column]
        failed = [each for each in cells if each.outcome is Outcome.FAIL]
        tests = {each.cell.name for each in cells}
        bad = {each.cell.name: each for each in reversed(failed)}
        version = next((each.version for each in record.trees if each.id == kernel.tree), "")
        yield from reply.prose(
            f"Measured on {version or kernel.tree}, kconfig {', '.join(kernel.setup.parts[1:])}:"
            f" {len(tests) - len(bad)} of {count_tests(len(tests))} pass in"
            f" {len(cells)} runs."
        )
        if (effect := known.get(column)) is not None and not effect.alone:
            said = " and ".join(filter(None, (effect.fixed, effect.broken)))
            yield from reply.prose(
                f"Compared with the kernel without it, the series {said or 'changes nothing'}."
            )
        unpatched = {
            each.cell.name
            for each in record.cells
            if each.cell.column == f"{kernel.setup.name}/{BASE}" and each.outcome is Outcome.FAIL
        }
        for name in sorted(bad):
            yield from _failure(bad[name], also=name in unpatched)


def _failure(each: CellRecord, *, also: bool) -> Iterator[str]:
    without = ", without the series too" if also else ""
    yield from reply.prose(
        f"{each.cell.name}: {each.seen}{without}: {each.message}", "  - ", "    "
    )


def _changes(series: SeriesRecord, kernel: KernelRecord) -> Iterator[str]:
    """Draw the lines changed in each file by the forms of the patches that ``kernel`` has."""
    ports = {each.id: each.port or "" for each in kernel.patches}
    more: Counter[str] = Counter()
    less: Counter[str] = Counter()
    for patch in series.patches:
        port = ports.get(f"{series.name}/{patch.id}", "")
        for file, (added, removed) in patch.changes.get(port, {}).items():
            more[file] += added
            less[file] += removed
    files = sorted(more)
    width = max(map(len, files), default=0)
    digits = max((len(str(more[file] + less[file])) for file in files), default=1)
    room = max(10, WIDTH - width - digits - len("  |  +"))
    unit = max(1.0, max((more[file] + less[file] for file in files), default=0) / room)
    for file in files:
        plus, minus = (round(lines / unit) or bool(lines) for lines in (more[file], less[file]))
        bar = "+" * plus + "-" * minus
        lines = more[file] + less[file]
        yield f" {printable(file):{width}} | {lines:{digits}} {bar}".rstrip()
    counts = (
        _count(len(files), "file changed", "files changed"),
        _count(more.total(), "insertion(+)", "insertions(+)"),
        _count(less.total(), "deletion(-)", "deletions(-)"),
    )
    yield f" {', '.join(counts)}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
