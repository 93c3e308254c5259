# SPDX-License-Identifier: GPL-2.0-only
"""A call of a stepped function: what it must preserve for its caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.arm64.daif import BITS
from kstep.base.outcome import KernelFault, Signature

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.judge.stepper import Step

# The procedure call standard (AAPCS64, 6.1.1): x19 to x28, the frame pointer, sp.
KEPT = (*(f"x{number}" for number in range(19, 30)), "sp")


class Call:
    """A call; the kernel is stopped at its first instruction.

    The function must return with the interrupt masks that it was called with.
    """

    def __init__(self, function: str, kdb: Kdb) -> None:
        self.function = function
        self._kdb = kdb
        self._at_entry = kdb.registers()

    @property
    def returns_to(self) -> int:
        """The return address of the call."""
        return self._at_entry["x30"]

    def must_preserve_callee_saved(self, step: Step) -> None:
        """Raise KernelFault if a step is the return, and something is not restored."""
        if step.returned and step.after.address == self.returns_to:
            self.must_have_restored()

    def must_have_restored(self) -> None:
        """Raise KernelFault if the function has returned without restoring something.

        ``wrong-registers`` for callee-saved registers, ``masked-interrupts`` for DAIF.
        """
        now = self._kdb.registers()
        changed = [
            f"{name} changed from {self._at_entry[name]:#x} to {now[name]:#x}"
            for name in KEPT
            if now[name] != self._at_entry[name]
        ]
        if changed:
            raise KernelFault(
                Signature.WRONG_REGISTERS,
                f"{self.function} returned: {', '.join(changed)}",
            )
        before, after = self._at_entry["pstate"] & BITS, now["pstate"] & BITS
        if before != after:
            raise KernelFault(
                Signature.MASKED_INTERRUPTS,
                f"{self.function} returned: DAIF changed from {before:#x} to {after:#x}",
            )
