# SPDX-License-Identifier: GPL-2.0-only
"""Which cells are skipped and why: what a session needs, compared with what is available.

A session needs options of the kernel (``needs``) and abilities of the machine (``requires``,
and what its hardware implies); on some kernels its claim has no sense (``unless``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import RequestError
from kstep.build import kconfig
from kstep.machine.qemu import OFFERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kstep.machine.capability import Offer
    from kstep.machine.line import Line
    from kstep.results.cell import Cell
    from kstep.run.building import Built
    from kstep.session.session import Session
    from kstep.toolchain.accel import Accel


def offer(line: Line | None, accel: Accel) -> Offer:
    """Return what the machine of a run can do: the one on ``line``, or QEMU."""
    return OFFERS[accel] if line is None else line.offer


def skipped(
    cells: Iterable[Cell],
    sessions: Sequence[Session],
    built: Iterable[Built],
    machine: Offer,
    fragments: Path,
) -> dict[Cell, str]:
    """Return the cells that cannot be run and why, in a sentence that names session and case.

    Only cells with a kernel in ``built`` are considered; ``fragments`` is the folder of kconfig
    fragments, one of which may have the missing option. Raises RequestError with the first
    reason if no cell is left.
    """
    kernels = {(each.setup, variant.name): each for each in built for variant, _ in each.variants}
    scripts = {each.name: each for each in sessions}
    found: dict[Cell, str] = {}
    looked_at = 0
    for cell in cells:
        kernel = kernels.get((cell.setup, cell.variant))
        if kernel is None:
            continue
        looked_at += 1
        script = scripts[cell.session]
        if option := kernel.lacking(script):
            found[cell] = (
                f"{script.name} is not run with kconfig {cell.kconfig}:"
                f" it needs {option}; {kconfig.offering(option, fragments)}"
            )
        elif why := kernel.senseless(script, cell.case):
            found[cell] = f"{cell.name} is not run {why}"
        elif why := machine.why_not(script.requires):  # said once for all of its cases
            found[cell] = f"{script.name} is not run on {machine.name}: {why}"
        elif why := machine.why_not(script.requires_for(cell.case)):
            found[cell] = f"{cell.name} is not run on {machine.name}: {why}"
    if found and len(found) == looked_at:
        raise RequestError(next(iter(found.values())))
    return found
