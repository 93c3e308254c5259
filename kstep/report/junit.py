# SPDX-License-Identifier: GPL-2.0-only
"""The report for CI: JUnit XML, one flat suite per variant.

``classname`` is ``kstep.<tree>.<kconfig>.<variant>``, with compiler and suite before the variant if
they are not as usual. Viewers treat what follows the last dot as
the class and the rest as its package, so ``debian:6.1`` may keep its dot; in a variant ``_``
replaces it. The suite's name and properties have the names unchanged.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from junit_xml import TestCase, TestSuite, to_xml_report_string

from kstep.base.outcome import Outcome
from kstep.report import story
from kstep.results.printable import printable
from kstep.results.verdict import order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kstep.results.cell import CellRecord
    from kstep.results.record import Record
    from kstep.results.setup import Setup

# junit-xml omits a time of 0 and writes shorter ones with an exponent.
SHORTEST = 0.001
LONGEST = 200  # characters of a message: viewers show it on one line; the body has all of it


def junit(record: Record) -> str:
    """Return junit.xml, to write in UTF-8."""
    suites: dict[tuple[Setup, str], list[CellRecord]] = defaultdict(list)
    for each in record.cells:
        suites[each.cell.setup, each.cell.variant].append(each)
    text: str = to_xml_report_string(
        [
            _suite(record, key, suites[key])
            for key in sorted(suites, key=lambda key: (key[0].parts, order(key[1])))
        ],
        encoding="utf-8",
    )
    return text


def _suite(record: Record, key: tuple[Setup, str], cells: Sequence[CellRecord]) -> TestSuite:
    setup, variant = key
    repeated = {each.cell.name for each in cells if each.cell.repeat > 1}
    return TestSuite(
        printable(f"{setup.name}/{variant}"),
        [
            _case(record, each, numbered=each.cell.name in repeated)
            for each in sorted(cells, key=lambda each: (each.cell.name, each.cell.repeat))
        ],
        timestamp=printable(record.run.started),
        properties={
            printable(name): printable(value)
            for name, value in _provenance(record, setup, variant).items()
        },
    )


def _provenance(record: Record, setup: Setup, variant: str) -> dict[str, str]:
    toolchain = record.toolchain_of(setup)
    found = {
        "kstep": record.run.kstep_version,
        "run": record.run.id,
        "tree": setup.tree,
        "kconfig": setup.kconfig,
        "variant": variant,
        "compiler": setup.compiler,
        **({"suite": setup.suite} if setup.suite else {}),
        "toolchain": toolchain.kind,
        "toolchain.image": toolchain.image_digest or "none",
        setup.compiler: toolchain.gcc,
        "qemu": toolchain.qemu,
    }
    for source in record.trees:
        if source.id == setup.tree:
            found["tree.version"] = source.version
            found["tree.sha256"] = source.sha256 or "none"
    for kernel in record.kernels:
        if (kernel.setup, kernel.variant) == (setup, variant):
            found["image.sha256"] = kernel.image_sha256
            for patch in kernel.patches:
                found[f"patch.{patch.id}"] = f"{patch.action}, sha256 {patch.sha256}"
    return found


def _case(record: Record, each: CellRecord, *, numbered: bool) -> TestCase:
    cell = each.cell
    case = TestCase(
        printable(f"{cell.name} #{cell.repeat}" if numbered else cell.name),
        classname=printable(".".join(["kstep", *cell.setup.parts, cell.variant.replace(".", "_")])),
        elapsed_sec=max(each.seconds, SHORTEST),
        file=printable(each.files.get("session", "")),
        line=session.line if (session := record.sessions.get(cell.session)) else None,
    )
    # junit-xml would omit an element without message and body, and the case would pass.
    if each.outcome is Outcome.ERROR:
        case.add_error_info(_line(f"{each.seen}: {each.message}"), _body(record, each), each.seen)
    elif not each.matched:
        kind = "unexpected-pass" if each.outcome is Outcome.PASS else each.seen
        case.add_failure_info(_surprise(each), _body(record, each), kind)
    elif each.outcome is Outcome.FAIL:
        why = story.expectation(each) if each.held else "expected failure"
        message = _line(f"{why}: {each.seen}: {each.message}")
        case.add_skipped_info(message, printable(each.message))
    return case


def _surprise(each: CellRecord) -> str:
    """Describe in a line how the cell differs from the expectation."""
    said = story.surprise(each)
    return said if each.outcome is Outcome.PASS else _line(f"{said}: {each.message}")


def _body(record: Record, each: CellRecord) -> str:
    tail = record.tail(each)
    heading = ["", "The console ended with:"] if tail else []
    return "\n".join([printable(each.message), *heading, *tail])


def _line(text: str) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
