# SPDX-License-Identifier: GPL-2.0-only
"""The exception masks along a path: stepped code must read the DAIF that it wrote.

Stepped code masks and unmasks interrupts itself, and must not see what a debugger masks. So the
expected DAIF is computed only from its value at the start of the path and the instructions
since.
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
    """The expected DAIF along a path; ``value`` begins as DAIF at the start of the path."""

    kdb: Kdb
    value: int
    reads: int = 0
    writes: int = 0
    unmasked: int = 0  # how often interrupts were unmasked

    @classmethod
    def here(cls, kdb: Kdb) -> Masks:
        """Start a path at the current stop."""
        return cls(kdb, kdb.registers()["pstate"] & daif.BITS)

    def must_match_daif(self, step: Step) -> None:
        """Raise KernelFault ``masked-interrupts`` if DAIF differs from the expected value.

        Compared after each instruction that reads or writes DAIF: what it read, and the PSTATE
        of the stopped context.
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
        self.value = daif.after(word, before, registers)  # MSR does not change its register
        self.unmasked += bool(before & ~self.value & daif.INTERRUPTS)
        self._compare(f"step {step.number} at {step.before} leaves", registers["pstate"])

    def must_still_hold(self) -> None:
        """Raise KernelFault ``masked-interrupts`` if DAIF differs now."""
        self._compare("the end of the path has", self.kdb.registers()["pstate"])

    def _compare(self, where: str, found: int) -> None:
        if found & daif.BITS != self.value:
            raise KernelFault(
                Signature.MASKED_INTERRUPTS,
                f"{where} DAIF as {daif.text(found)}, but the path so far has set it to"
                f" {daif.text(self.value)}",
            )
