# SPDX-License-Identifier: GPL-2.0-only
"""What changed between two runs: tests, rates, and what they were made with."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.report.effect import count_tests
from kstep.results.printable import printable
from kstep.results.rate import Rate
from kstep.results.rate import compare as fisher
from kstep.results.setup import Setup

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from kstep.results.cell import Cell, CellRecord
    from kstep.results.provenance import KernelRecord
    from kstep.results.record import Record

WIDTH = 80
FEW = 10  # tests that only one run has: so many are named
RARE = 0.05  # rates differ if p is below
KINDS = {
    "broken": "passed, and fails now",
    "otherwise": "fails in another way",
    "rarer": "passes less often",
    "lost": "had a verdict, and has none now",
    "fixed": "failed, and passes now",
    "oftener": "passes more often",
    "found": "had no verdict, and has one now",
    "gone": "no longer run",
    "new": "not run before",
}
WORSE = ("broken", "otherwise", "rarer", "lost")
BETTER = ("fixed", "oftener", "found")


@dataclass(frozen=True)
class Change:
    """One test, all repeats together, with another result; ``p`` is Fisher's.

    ``cell`` is its first repeat, in either run.
    """

    kind: str
    cell: Cell
    before: str
    after: str
    p: float | None

    @property
    def name(self) -> str:
        """The kernel and the test."""
        return f"{self.cell.column} {self.cell.name}"


@dataclass(frozen=True)
class Comparison:
    """All differences; ``common`` is the number of tests with a verdict in both runs."""

    changes: tuple[Change, ...]
    provenance: tuple[str, ...]
    common: int

    @property
    def status(self) -> int:
        """0 nothing is worse; 1 something broke; 3 there is nothing to compare."""
        if self._count(WORSE):
            return 1
        return 0 if self.common else 3

    @property
    def headline(self) -> str:
        """Say the result in one sentence."""
        if not self.common and not self._count(WORSE):
            return "No test has a verdict in both runs."
        if not self.changes:
            return f"Nothing changed: {count_tests(self.common)} as before."
        return (
            f"{self._count(WORSE) or 'No'} {'test' if self._count(WORSE) == 1 else 'tests'} worse,"
            f" {self._count(BETTER) or 'none'} better; {self.common} compared."
        )

    @property
    def kinds(self) -> list[tuple[str, list[Change]]]:
        """The changes by kind, in words, broken tests first; kinds without a change are omitted."""
        return [
            (words, found)
            for kind, words in KINDS.items()
            if (found := [change for change in self.changes if change.kind == kind])
        ]

    def _count(self, kinds: Container[str]) -> int:
        return sum(change.kind in kinds for change in self.changes)

    def text(self) -> list[str]:
        """Describe the differences in lines of 80 columns."""
        lines: list[str] = []
        for words, found in self.kinds:
            told = found if found[0].kind in (*WORSE, *BETTER) else found[:FEW]
            lines += [f"{words}: {len(found)}", *map(_line, told)]
            more = len(found) - len(told)
            lines += [f"  and {more} more, which --out FILE lists", ""] if more else [""]
        if not self.common:
            lines += ["no test has a verdict in both runs", ""]
        elif not self.changes:
            lines += [f"nothing changed: {count_tests(self.common)} as before", ""]
        if self.provenance:
            lines += ["built or run with something else:", *self.provenance]
        wrapped = (_wrap(line) if line else [""] for line in lines)
        return [line for group in wrapped for line in group]


def compare(before: Record, after: Record) -> Comparison:
    """Compare two runs, ``before`` and ``after``, cell by cell.

    If each has one compiler and one suite, another one is a difference of the tools, and the cells
    are compared nevertheless.
    """
    across = len(_tools(before)) == len(_tools(after)) == 1
    old, new = _grouped(before, across=across), _grouped(after, across=across)
    changes = [
        change
        for name in sorted(old.keys() | new.keys())
        if (change := _change(old.get(name, []), new.get(name, []))) is not None
    ]
    common = sum(
        bool(_rate(old[name]).total and _rate(new[name]).total) for name in old.keys() & new.keys()
    )
    made = (_provenance(each, across=across) for each in (before, after))
    provenance = tuple(_differences(*made))
    return Comparison(tuple(changes), provenance, common)


def _tools(record: Record) -> set[tuple[str, str]]:
    return {(each.cell.compiler, each.cell.suite) for each in record.cells}


def _grouped(record: Record, *, across: bool) -> dict[str, list[CellRecord]]:
    found: dict[str, list[CellRecord]] = defaultdict(list)
    for each in record.cells:
        found[f"{_column(each.cell, across=across)} {each.cell.name}"].append(each)
    return found


def _column(each: Cell | KernelRecord, *, across: bool) -> str:
    """Name the column of a cell or a kernel; ``across``: whatever its tools."""
    return f"{each.tree}/{each.kconfig}/{each.variant}" if across else each.column


def _rate(cells: Sequence[CellRecord]) -> Rate:
    return Rate.of(each.outcome for each in cells)


def _change(old: Sequence[CellRecord], new: Sequence[CellRecord]) -> Change | None:
    before, after = _rate(old), _rate(new)
    p = fisher(before, after) if max(before.total, after.total) > 1 else None
    kind = _kind(old, new, before, after, p)
    return None if kind is None else Change(kind, (*old, *new)[0].cell, _seen(old), _seen(new), p)


def _kind(
    old: Sequence[CellRecord],
    new: Sequence[CellRecord],
    before: Rate,
    after: Rate,
    p: float | None,
) -> str | None:
    if not old or not new:
        return "gone" if old else "new"
    if not before.total or not after.total:
        return "lost" if before.total else "found" if after.total else None
    if before.passes == before.total and after.passes < after.total:
        return "broken"
    if before.passes < before.total and after.passes == after.total:
        return "fixed"
    if p is not None and p < RARE:
        worse = after.passes / after.total < before.passes / before.total
        return "rarer" if worse else "oftener"
    return "otherwise" if _faults(new) - _faults(old) else None


def _faults(cells: Sequence[CellRecord]) -> set[str]:
    return {each.seen for each in cells if each.outcome is Outcome.FAIL}


def _seen(cells: Sequence[CellRecord]) -> str:
    """Describe the results of all repeats, and how often they passed if there are several."""
    if not cells:
        return "nothing"
    words = "/".join(sorted({each.seen for each in cells}))
    return f"{words}, {_rate(cells)} of {len(cells)}" if len(cells) > 1 else words


def _provenance(record: Record, *, across: bool) -> dict[str, str]:
    found = {"kstep": record.run.kstep_version}
    host = {name: value for name, value in record.run.host.items() if name != "merged"}
    found |= {f"host {name}": str(value) for name, value in host.items()}
    for tools in record.toolchains:
        named = () if across else Setup("", "", tools.compiler, tools.suite).parts[2:]
        where = " ".join(("toolchain", *named))
        found |= {f"{where} {name}": str(v) for name, v in asdict(tools).items() if v != ""}
    for tree in record.trees:
        found[f"tree {tree.id}"] = f"{tree.version}, sha256 {tree.sha256}"
    for kernel in record.kernels:
        name = _column(kernel, across=across)
        found[f"config of {name}"] = kernel.config_sha256
        found[f"image of {name}"] = kernel.image_sha256
        for patch in kernel.patches:
            found[f"patch {patch.id} in {name}"] = f"{patch.action}, sha256 {patch.sha256}"
    return found


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """List properties that differ between the runs; those that only one run has show as cells."""
    for name, value in old.items():
        if new.get(name, value) != value:
            yield f"  {name}: {value} -> {new[name]}"


def _line(change: Change) -> str:
    chance = "" if change.p is None else f" (p = {change.p:.2g})"
    if change.kind in ("gone", "new"):
        return f"  {change.name}: {change.before if change.kind == 'gone' else change.after}"
    return f"  {change.name}: {change.before} -> {change.after}{chance}"


def _wrap(line: str) -> list[str]:
    return textwrap.wrap(printable(line), WIDTH, subsequent_indent="      ", break_on_hyphens=False)
