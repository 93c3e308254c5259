# SPDX-License-Identifier: GPL-2.0-only
"""Decides whether a kernel that stays silent at boot has failed: another one must boot there.

Silence alone may be kstep's fault. It is the kernel's if the kernel stays silent in every try,
each on a fresh machine, and another variant of the same setup boots on the same
machine of the same host, in the same run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome, Signature

if TYPE_CHECKING:
    from kstep.machine.hardware import Hardware
    from kstep.results.cell import Cell
    from kstep.results.setup import Setup
    from kstep.run.boot import Result

TRIES = 2  # silent ones before a kernel may be blamed

_Machine = tuple["Setup", "Hardware", str]  # must be equal: what is built, machine, host


@dataclass
class Silence:
    """The variants that have booted in this run and those that stayed silent, by the machine.

    ``_booted`` has the seconds that each took.
    """

    _booted: dict[_Machine, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    _silent: dict[_Machine, list[Result]] = field(default_factory=lambda: defaultdict(list))

    def take(self, cell: Cell, hardware: Hardware, boot_seconds: float, host: str = "") -> None:
        """Record that the kernel of a cell has booted, on this machine or on another ``host``."""
        machine = cell.setup, hardware, host
        self._booted[machine].setdefault(cell.variant, boot_seconds)

    def judge(self, result: Result, hardware: Hardware) -> list[Result]:
        """Return a result, judged if possible, with the earlier ones that it decides."""
        machine = result.cell.setup, hardware, result.host
        if result.boot_seconds:
            self.take(result.cell, hardware, result.boot_seconds, result.host)
            waiting = self._silent.pop(machine, [])
            return [result, *(self._verdict(each, machine) for each in waiting)]
        if result.outcome is Outcome.ERROR and result.silent >= TRIES:
            return [self._verdict(result, machine)]
        return [result]

    def _verdict(self, result: Result, machine: _Machine) -> Result:
        """Return the verdict on a kernel that stayed silent; without one, keep it for later."""
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
