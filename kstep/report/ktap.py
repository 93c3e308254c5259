# SPDX-License-Identifier: GPL-2.0-only
"""results.ktap: the format of the kernel's own tests (Documentation/dev-tools/ktap.rst).

One nested test per variant. An expected fault is ``ok … # XFAIL``, as in kselftest.h, so a parser
that does not know the directive uses the ``ok``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.report.grid import columns
from kstep.results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kstep.results.cell import CellRecord
    from kstep.results.record import Record


def ktap(record: Record) -> str:
    """Return results.ktap, to write in UTF-8."""
    suites = columns(record)
    lines = ["KTAP version 1", f"1..{len(suites)}"]
    for number, (name, cells) in enumerate(suites.items(), 1):
        lines += [f"  {line}" for line in _suite(name, cells)]
        well = all(each.matched for each in cells)
        lines.append(f"{'ok' if well else 'not ok'} {number} {_name(name)}")
    return "\n".join([*lines, ""])


def _suite(name: str, cells: Sequence[CellRecord]) -> Iterator[str]:
    yield "KTAP version 1"
    yield f"# Subtest: {_name(name)}"
    yield f"1..{len(cells)}"
    repeated = {each.cell.name for each in cells if each.cell.repeat > 1}
    for number, each in enumerate(cells, 1):
        cell = each.cell
        if each.message:
            yield f"# {_line(each.message)}"
        title = f"{cell.name} repeat {cell.repeat}" if cell.name in repeated else cell.name
        yield f"{_result(each)} {number} {_name(title)}{_directive(each)}"


def _result(each: CellRecord) -> str:
    return "ok" if each.matched else "not ok"


def _directive(each: CellRecord) -> str:
    if each.outcome is Outcome.ERROR:
        return f" # ERROR {each.seen}"
    if not each.matched:
        return f" # {each.seen}, expected {each.wanted}"
    return f" # XFAIL {each.seen}" if each.outcome is Outcome.FAIL else ""


def _name(text: str) -> str:
    """``text`` as a description: no number sign, which ends one."""
    return _line(text).replace("#", "=")


def _line(text: str) -> str:
    return " ".join(printable(text).split())
