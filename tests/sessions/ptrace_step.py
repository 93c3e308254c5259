# SPDX-License-Identifier: GPL-2.0-only
"""Does a debugger of user space notice anything of the patches?

Claim: it must not. Nobody said otherwise, but both kinds of step share MDSCR_EL1.SS and the
single-step exception, and the patches change when the kernel writes the one and what the
other finds.

Measured: five thousand steps by PTRACE_SINGLESTEP through a block whose order is known, with
a system call in it and a signal every ten milliseconds: where each step stops and as what it
is told, how often the program itself counts that it ran one of the instructions, signals that
came, and signals that were handled. In `watched` perf has a breakpoint in the signal's handler
and a watchpoint on what that writes, and steps over both on its own account (suspended_step in
arch/arm64/kernel/hw_breakpoint.c): each must be hit once a signal. It has a breakpoint in the
system call too, where both kinds of step are under way at once, and an interrupt comes every
100 microseconds.

Refuted by a stop elsewhere (`off-order`, `stuck`), one that is not told as a step's
(`wrong-result`), an instruction that was run unseen (`runaway`), by a signal that was not
handled, a timer that sent none, or hits that were not counted (`missed-hits`), or counted
twice (`double-hits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact, must_not_be_missed
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

CALL = "__arm64_sys_getppid"  # kernel/sys.c


@dataclass(frozen=True)
class Debuggers:
    """Who debugs the program: ptrace, and perf where it is ``watched``."""

    name: str
    watched: bool


@session(
    claim="Stepping a user program goes in order and loses no signal.",
    cases=(Debuggers("alone", watched=False), Debuggers("watched", watched=True)),
    area="user space",
)
def ptrace_step(target: Target, debuggers: Debuggers) -> None:
    """Have a child stepped under a fast timer."""
    command = "stepper 5000"
    if debuggers.watched:
        with target.in_kdb() as kdb:
            command += f" x:{kdb.address(CALL):#x}"
    answer = target.run(command, 30)
    found = answer.figures
    target.metrics.update(found)
    if found["stuck"] or found["off_order"]:
        raise KernelFault(
            Signature.STUCK if found["stuck"] else Signature.OFF_ORDER, answer.text.splitlines()[0]
        )
    if found["told_otherwise"]:
        raise KernelFault(Signature.WRONG_RESULT, answer.text.splitlines()[0])
    if found["counted"] != found["counts"]:
        raise KernelFault(
            Signature.RUNAWAY,
            f"in {found['steps']} steps the program ran an instruction {found['counted']} times,"
            f" and was stepped over it {found['counts']} times",
        )
    if not found["signals"] or found["handled"] != found["signals"]:
        raise KernelFault(
            Signature.MISSED_HITS,
            f"{found['signals']} signals came and {found['handled']} were handled",
        )
    if debuggers.watched:
        must_be_exact(found["run_hits"], found["handled"], "runs of the handler")
        must_be_exact(found["write_hits"], found["handled"], "writes of the handler")
        # More of them is what watch-in-interrupt is for.
        must_not_be_missed(found["call_hits"], found["calls"], "system calls")
