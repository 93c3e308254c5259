# SPDX-License-Identifier: GPL-2.0-only
"""The result of a cell and of a run in words, only from the record."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePath
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.report.area import area, rank
from kstep.report.effect import count_tests
from kstep.results.cell import BASE
from kstep.results.printable import printable
from kstep.results.verdict import order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kstep.results.cell import Cell, CellRecord
    from kstep.results.record import Record


def happened(each: CellRecord) -> str:
    """Say what was seen: the message of a fault, or what a pass measured.

    And how the tries before it ended, which were no verdict.
    """
    earlier = [
        f"An earlier try ended without a verdict ({known.signature}): {printable(known.message)}"
        for known in each.earlier
    ]
    return "\n".join([_seen(each), *earlier])


def _seen(each: CellRecord) -> str:
    if each.message:
        return printable(each.message)
    if each.outcome is not Outcome.PASS:
        return each.seen
    steps, in_order = each.metrics.get("steps"), each.metrics.get("in_order")
    if not isinstance(steps, int) or not steps:
        return "The claim held."
    sequence = "all in program order" if steps == in_order else f"{in_order} in program order"
    pcs = each.metrics.get("distinct_pcs")
    where = f", over {pcs} different instructions" if isinstance(pcs, int) else ""
    return f"The claim held: {steps} steps, {sequence}{where}."


def expectation(each: CellRecord) -> str:
    """Say what was expected, and whether it happened."""
    if each.outcome is Outcome.ERROR:
        return f"{each.wanted} was expected; there is no verdict"
    if each.expected is not None:
        came = "as expected" if each.matched else f"but was {each.seen}"
        return f"{each.wanted}, {came}"
    if each.outcome is Outcome.PASS or not each.held:
        came = "it did" if each.outcome is Outcome.PASS else f"it did not: {each.seen}"
        return f"no expectation, so it must pass: {came}"
    if each.cell.variant == BASE:
        return "no expectation; the other kernels are compared with this one"
    if each.base is not None and each.died_at_boot and not each.base_died_at_boot:
        return f"no expectation; the unpatched kernel boots: {each.seen} is a regression"
    told = {
        None: ", and no result of the unpatched kernel to compare with",
        Outcome.FAIL: "; the unpatched kernel fails too",
    }
    regression = f"; the unpatched kernel passes: {each.seen} is a regression"
    return f"no expectation{told.get(each.base, regression)}"


def surprise(each: CellRecord) -> str:
    """Say briefly how a cell that did not match differs from the expectation."""
    if each.outcome is Outcome.ERROR:
        return f"no verdict: {each.seen}"
    if each.held and each.expected is None:
        if each.base is None:
            return f"{each.seen}, with nothing to compare with"
        return f"{each.seen}; the unpatched kernel passes"
    return f"expected {each.wanted}, was {each.seen}"


def headline(cells: Sequence[CellRecord]) -> str:
    """Say in one sentence whether the results of a run are as expected."""
    if not cells:
        return "No test was run: there is no verdict."
    total = count_tests(len(cells))
    errors = sum(each.outcome is Outcome.ERROR for each in cells)
    wrong = [each for each in cells if not each.matched and each.outcome is not Outcome.ERROR]
    parts = []
    if all(each.held for each in cells):  # there are no expectations at all
        parts = _compared(cells, wrong)
    elif wrong:
        parts = [f"{len(wrong)} of {total} came out other than expected"]
    elif not errors:
        parts = [f"All {total} came out as expected"]
    if errors:
        of = "" if parts else f" of {total}"
        parts.append(f"{errors}{of} {'has' if errors == 1 else 'have'} no verdict")
    return f"{'; '.join(parts)}."


def _compared(cells: Sequence[CellRecord], wrong: Sequence[CellRecord]) -> list[str]:
    """Say in parts of a sentence how a run without expectations compares with ``none``."""
    total = count_tests(len(cells))
    alone = sum(each.base is None for each in wrong)
    fail = f"{alone or 'none'} of {total} {'fails' if alone == 1 else 'fail'}"
    if not any(each.base for each in cells if each.cell.variant != BASE):
        return [f"Nothing to compare with: {fail}"]
    found = _regressions(len(wrong) - alone)
    return [
        f"{found.capitalize()} in {total}, compared with the unpatched kernel",
        *([f"{fail} with nothing to compare with"] if alone else []),
    ]


def look_first(record: Record) -> CellRecord | None:
    """Return the cell to look at first; None if all results are as expected.

    An unexpected fault comes before an unexpected pass, and that before no verdict; then the
    order of the areas counts.
    """

    def key(each: CellRecord) -> tuple[object, ...]:
        cell = each.cell
        return (
            (Outcome.FAIL, Outcome.PASS, Outcome.ERROR).index(each.outcome),
            rank(area(record, cell.session)),
            order(cell.variant),
            (*cell.setup.parts, cell.session, cell.case or "", cell.repeat),
        )

    return min((each for each in record.cells if not each.matched), key=key, default=None)


def called(record: Record, cell: Cell) -> str:
    """Name a cell in one line: its test and variant, with the tree if there are several."""
    several = len({each.cell.setup for each in record.cells}) > 1
    name = f"{cell.name} with {cell.column if several else cell.variant}"
    return " ".join(printable(name).split())


def remarks(record: Record) -> list[str]:
    """Say what is compared with the unpatched kernel, and what was skipped."""
    lines = _without_expectations(record)
    skipped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in record.left_out:
        skipped[each.tree, each.why].append(each.variant)
    return lines + [
        f"skipped: {tree} {', '.join(variants)}: {why}" for (tree, why), variants in skipped.items()
    ]


def _without_expectations(record: Record) -> list[str]:
    """Say what series and sessions without expectations are compared with.

    A session whose file is not in kstep's folder is the user's: no series has a rule for it.
    """
    held = [each for each in record.cells if each.held and each.cell.variant != BASE]
    if not held:
        return []
    sessions = record.sessions
    own = {name for name, session in sessions.items() if PurePath(session.file).is_absolute()}
    names = sorted(
        {
            cell.session if cell.session in own else cell.variant.rpartition("/")[0]
            for cell in (each.cell for each in held)
        }
    )
    start = f"No expectations for {', '.join(names)}"
    judged = [each for each in held if each.outcome is not Outcome.ERROR]
    alone = [each for each in judged if each.base is None]
    worse = sum(not each.matched for each in judged if each.base is not None)
    if len(alone) == len(judged):
        return [f"{start}, and no result of the unpatched kernel: nothing to compare with."]
    rest = f" {count_tests(len(alone))} had nothing to compare with." if alone else ""
    return [f"{start}; compared with the unpatched kernel: {_regressions(worse)}.{rest}"]


def _regressions(number: int) -> str:
    return f"{number or 'no'} {'regression' if number == 1 else 'regressions'}"
