# SPDX-License-Identifier: GPL-2.0-only
"""What a cell came to, in words, from what its record holds and nothing else."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.results.cell import BASE
from kstep.results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kstep.results.cell import CellRecord
    from kstep.results.record import Record


def happened(each: CellRecord) -> str:
    """Say what was seen; the message of a fault, or what a pass was measured by.

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
    order = "all in program order" if steps == in_order else f"{in_order} in program order"
    pcs = each.metrics.get("distinct_pcs")
    where = f", over {pcs} different instructions" if isinstance(pcs, int) else ""
    return f"The claim held: {steps} steps, {order}{where}."


def expectation(each: CellRecord) -> str:
    """Say what was predicted, and whether it came."""
    if each.outcome is Outcome.ERROR:
        return f"{each.wanted} was expected; there is no verdict"
    if each.died_at_boot and each.held and each.base is not None and not each.matched:
        return f"nothing is predicted; {BASE} boots, and this kernel does not"
    if each.held and each.base is Outcome.FAIL:
        return f"nothing is predicted; {BASE} fails too, so a fault is not the series'"
    if each.expected is None:
        came = "it did" if each.matched else f"it did not: {each.seen}"
        return f"nothing is predicted, so it has to pass: {came}"
    return f"{each.wanted}, as predicted" if each.matched else f"{each.wanted}, but: {each.seen}"


def headline(cells: Sequence[CellRecord]) -> str:
    """Say in one sentence whether a run came out as predicted."""
    if not cells:
        return "No cell was run: there is no verdict."
    errors = sum(each.outcome is Outcome.ERROR for each in cells)
    wrong = sum(not each.matched for each in cells) - errors
    held = all(each.held for each in cells)  # then nobody predicted anything
    if not wrong and not errors:
        worse = f"None of {len(cells)} cells does worse than with {BASE}."
        return worse if held else f"All {len(cells)} cells came out as predicted."
    came = f"do worse than with {BASE}" if held else "came out other than predicted"
    parts = [f"{wrong} of {len(cells)} cells {came}"] if wrong else []
    parts += [f"{errors} of {len(cells)} have no verdict"] if errors else []
    return f"{'; '.join(parts)}."


def remarks(record: Record) -> list[str]:
    """Say against what a series is held of which nobody said anything, and what was left out."""
    held = [each for each in record.cells if each.held]
    names = {each.cell.variant.rpartition("/")[0] for each in held} - {""}
    lines = []
    if names:
        worse = sum(not each.matched and each.outcome is Outcome.FAIL for each in held)
        came = f"{worse} cells do" if worse != 1 else "1 cell does"
        who = ", ".join(sorted(names))
        lines = [f"Nobody said what to expect of {who}: {BASE} is the measure, and {came} worse."]
    left_out: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in record.left_out:
        left_out[each.tree, each.why].append(each.variant)
    return lines + [
        f"left out: {tree} {', '.join(variants)}: {why}"
        for (tree, why), variants in left_out.items()
    ]
