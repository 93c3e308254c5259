# SPDX-License-Identifier: GPL-2.0-only
"""Does a debugger of user space notice anything of the patches?

Claim: it must not. Nobody said otherwise, but both kinds of step share MDSCR_EL1.SS and the
single-step exception, and the patches change when the kernel writes the one and what the
other finds.

Measured: five thousand steps by PTRACE_SINGLESTEP through a block whose order is known, with
a system call in it and a signal every millisecond: where each step stops, signals that
came, and signals that were handled.

Refuted by a stop elsewhere (`off-order`, `stuck`), and by a signal that was not handled or a
timer that sent none (`missed-hits`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.outcome import KernelFault, Signature
from kstep.session import session

if TYPE_CHECKING:
    from kstep.target import Target


@session(claim="Stepping a user program goes in order and loses no signal.")
def ptrace_step(target: Target) -> None:
    """Have a child stepped under a fast timer."""
    answer = target.run("stepper 5000", 30)
    found = answer.figures
    target.metrics.update(found)
    if found["stuck"] or found["off_order"]:
        raise KernelFault(
            Signature.STUCK if found["stuck"] else Signature.OFF_ORDER, answer.text.splitlines()[0]
        )
    if not found["signals"] or found["handled"] != found["signals"]:
        raise KernelFault(
            Signature.MISSED_HITS,
            f"{found['signals']} signals came and {found['handled']} were handled",
        )
