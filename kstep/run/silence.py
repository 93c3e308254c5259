# SPDX-License-Identifier: GPL-2.0-only
"""When a kernel that stays silent at boot has failed: if another one boots where it does not.

Silence alone may be our doing. It is the kernel's if it stays silent in every try, each on a
fresh machine, and another variant of the same tree and configuration boots on the same machine
of the same host, in the same run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome, Signature

if TYPE_CHECKING:
    from kstep.machine.hardware import Hardware
    from kstep.results.cell import Cell
    from kstep.run.boot import Result

TRIES = 2  # that a kernel must have had

_Machine = tuple[str, str, "Hardware"]  # what must be the same: tree, configuration, machine


@dataclass
class Silence:
    """What has booted in this run and what has stayed silent, by the machine.

    ``_booted`` has the variants that have, with the seconds that it took.
    """

    _booted: dict[_Machine, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    _silent: dict[_Machine, list[Result]] = field(default_factory=lambda: defaultdict(list))

    def take(self, cell: Cell, hardware: Hardware, boot_seconds: float) -> None:
        """Take note that the kernel of a cell has booted."""
        machine = cell.tree, cell.kconfig, hardware
        self._booted[machine].setdefault(cell.variant, boot_seconds)

    def judge(self, result: Result, hardware: Hardware) -> list[Result]:
        """Take a result; return what is known now: this one, and those that it decides."""
        machine = result.cell.tree, result.cell.kconfig, hardware
        if result.boot_seconds:
            self.take(result.cell, hardware, result.boot_seconds)
            waiting = self._silent.pop(machine, [])
            return [result, *(self._verdict(each, machine) for each in waiting)]
        if result.outcome is Outcome.ERROR and result.silent >= TRIES:
            return [self._verdict(result, machine)]
        return [result]

    def _verdict(self, result: Result, machine: _Machine) -> Result:
        """Return the verdict on a kernel that stayed silent, or else keep it for later."""
        others = {
            variant: seconds
            for variant, seconds in self._booted[machine].items()
            if variant != result.cell.variant
        }
        if not others:
            self._silent[machine].append(result)
            return result
        variant, seconds = next(iter(others.items()))
        return replace(
            result,
            outcome=Outcome.FAIL,
            signature=Signature.HANG,
            died_at_boot=True,
            message=f"{result.message}\n{result.silent} tries, each on a fresh machine;"
            f" {variant} boots on the same machine in {seconds:.1f} s",
        )
