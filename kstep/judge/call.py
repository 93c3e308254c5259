# SPDX-License-Identifier: GPL-2.0-only
"""A call of a function that is looked into: what it owes its caller when it returns."""

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
    """The call whose first instruction the kernel is stopped at.

    Of a function that is to come back with interrupts as it found them.
    """

    def __init__(self, function: str, kdb: Kdb) -> None:
        self.function = function
        self._kdb = kdb
        self._at_entry = kdb.registers()

    @property
    def returns_to(self) -> int:
        """The address behind the call."""
        return self._at_entry["x30"]

    def must_preserve_callee_saved(self, step: Step) -> None:
        """Raise KernelFault where a step is the return, and not all is as it was."""
        if step.returned and step.after.address == self.returns_to:
            self.must_have_restored()

    def must_have_restored(self) -> None:
        """Raise KernelFault where the function has returned, and not all is as it was.

        ``wrong-registers`` for those that are the caller's, ``masked-interrupts`` for DAIF.
        """
        now = self._kdb.registers()
        changed = [
            f"{name} was {self._at_entry[name]:#x} and is {now[name]:#x}"
            for name in KEPT
            if now[name] != self._at_entry[name]
        ]
        if changed:
            raise KernelFault(
                Signature.WRONG_REGISTERS,
                f"{self.function} returned, and {', '.join(changed)}",
            )
        before, after = self._at_entry["pstate"] & BITS, now["pstate"] & BITS
        if before != after:
            raise KernelFault(
                Signature.MASKED_INTERRUPTS,
                f"{self.function} returned, and DAIF was {before:#x} and is {after:#x}",
            )
