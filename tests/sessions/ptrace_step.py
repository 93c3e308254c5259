# SPDX-License-Identifier: GPL-2.0-only
"""Does a debugger of user space notice anything of the patches?

Claim: it must not. Nobody said otherwise, but both kinds of step share MDSCR_EL1.SS and the
single-step exception, and the patches change when the kernel writes the one and what the
other finds.

Measured: five thousand steps by PTRACE_SINGLESTEP through a block whose order is known, with
a system call in it and a signal every millisecond: where each step stops and as what it is
told, signals that came, and signals that were handled. In `watched` perf has a breakpoint in
the signal's handler and a watchpoint on what that writes, and steps over both on its own
account (suspended_step in arch/arm64/kernel/hw_breakpoint.c): each must be hit once a signal.

Refuted by a stop elsewhere (`off-order`, `stuck`), one that is not told as a step's
(`wrong-result`), by a signal that was not handled, a timer that sent none, or hits that were
not counted (`missed-hits`), or counted twice (`double-hits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.outcome import KernelFault, Signature
from kstep.session import session

if TYPE_CHECKING:
    from kstep.target import Target


@dataclass(frozen=True)
class Debuggers:
    """Who else debugs the program; ``words`` are the stepper's."""

    name: str
    words: str = ""


@session(
    claim="Stepping a user program goes in order and loses no signal.",
    cases=(Debuggers("alone"), Debuggers("watched", "watched")),
)
def ptrace_step(target: Target, others: Debuggers) -> None:
    """Have a child stepped under a fast timer."""
    answer = target.run(f"stepper 5000 {others.words}".strip(), 30)
    found = answer.figures
    target.metrics.update(found)
    if found["stuck"] or found["off_order"]:
        raise KernelFault(
            Signature.STUCK if found["stuck"] else Signature.OFF_ORDER, answer.text.splitlines()[0]
        )
    if found["told_otherwise"]:
        raise KernelFault(Signature.WRONG_RESULT, answer.text.splitlines()[0])
    if not found["signals"] or found["handled"] != found["signals"]:
        raise KernelFault(
            Signature.MISSED_HITS,
            f"{found['signals']} signals came and {found['handled']} were handled",
        )
    for hits in (found[name] for name in ("run_hits", "write_hits") if name in found):
        if hits != found["handled"]:
            raise KernelFault(
                Signature.DOUBLE_HITS if hits > found["handled"] else Signature.MISSED_HITS,
                f"what {found['handled']} signals' handlers did was hit {hits} times",
            )
