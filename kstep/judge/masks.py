# SPDX-License-Identifier: GPL-2.0-only
"""The exception masks along a path: the code that is stepped finds them as it left them.

It masks and unmasks interrupts itself; what a debugger masks for its own sake is none of that
code's business. So what DAIF has to be is computed from where the path began and the
instructions since, and from nothing that the debugger does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.arm64 import daif
from kstep.base.outcome import KernelFault, Signature

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.judge.stepper import Step


@dataclass
class Masks:
    """What DAIF has to be as a path goes on; ``value`` is what it was where the path began."""

    kdb: Kdb
    value: int
    reads: int = 0
    writes: int = 0
    unmasked: int = 0  # times that interrupts came on again

    @classmethod
    def here(cls, kdb: Kdb) -> Masks:
        """Begin where the kernel is stopped now."""
        return cls(kdb, kdb.registers()["pstate"] & daif.BITS)

    def must_match_daif(self, step: Step) -> None:
        """Raise KernelFault ``masked-interrupts`` where the code finds other masks than it left.

        Looked at after each instruction that reads or writes them: what it read, and the
        stopped context's PSTATE.
        """
        word = step.instruction.word
        if not daif.reads(word) and not daif.writes(word):
            return
        registers = self.kdb.registers()
        self.reads += daif.reads(word)
        self.writes += daif.writes(word)
        if daif.reads(word) and word & 31 != daif.ZERO_REGISTER:
            self._compare(
                f"step {step.number} at {step.before} reads", daif.general(word, registers)
            )
        before = self.value
        self.value = daif.after(word, before, registers)  # MSR leaves its register as it was
        self.unmasked += bool(before & ~self.value & daif.INTERRUPTS)
        self._compare(f"step {step.number} at {step.before} leaves", registers["pstate"])

    def must_still_hold(self) -> None:
        """Raise KernelFault ``masked-interrupts`` where they are others now."""
        self._compare("the end of the path has", self.kdb.registers()["pstate"])

    def _compare(self, where: str, found: int) -> None:
        if found & daif.BITS != self.value:
            raise KernelFault(
                Signature.MASKED_INTERRUPTS,
                f"{where} DAIF as {daif.text(found)}, and the path so far makes it"
                f" {daif.text(self.value)}",
            )
