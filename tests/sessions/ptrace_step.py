# SPDX-License-Identifier: GPL-2.0-only
"""Does a debugger of user space notice the patches?

Claim: it must not. Not raised in the review, but both kinds of step share MDSCR_EL1.SS and the
single-step exception, and the patches change when the kernel writes MDSCR_EL1.SS and what the
exception handler finds.

Measured: five thousand steps by PTRACE_SINGLESTEP through a block whose order is known, with
a system call in it and a signal every ten milliseconds: where each step stops and how it is
reported, how often the program counts that it ran one of the instructions, the signals sent
and the signals handled. In `watched` perf has a breakpoint in the signal's handler and a
watchpoint on the variable that the handler writes, and makes its own steps over both
(suspended_step in arch/arm64/kernel/hw_breakpoint.c): each must be hit once per signal. It has
a breakpoint in the system call too, where both kinds of step are active at once, and an
interrupt comes every 100 microseconds. In `stepped` kdb stops in that system call, steps the kernel
there, and goes on; no signal comes, or it would end what is a step no more.

Refuted by a stop elsewhere (`off-order`, `stuck`), one that is not reported as a step
(`wrong-result`), an instruction that ran without a stop (`runaway`), by a signal that was not
handled, a timer that sent none, or hits that were not counted (`missed-hits`), or counted
twice (`double-hits`); and by a step of kdb's that leaves program order, as in step-in-order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact, must_not_be_missed
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.console.shell import CommandResult
    from kstep.session.target import Target

CALL = "__arm64_sys_getppid"  # kernel/sys.c
STOPS, STEPS = 6, 20


@dataclass(frozen=True)
class Debuggers:
    """Who debugs the program: ptrace, and perf too if it is ``watched``, or kdb if ``stepped``."""

    name: str
    watched: bool = False
    stepped: bool = False


@session(
    claim="Stepping a user program goes in order and loses no signal.",
    cases=(
        Debuggers("alone"),
        Debuggers("watched", watched=True),
        Debuggers("stepped", stepped=True),
    ),
    area="user space",
)
def ptrace_step(target: Target, debuggers: Debuggers) -> None:
    """Step a child process under a fast timer."""
    command = "stepper 500 quiet" if debuggers.stepped else "stepper 5000"
    if debuggers.watched:
        with target.in_kdb() as kdb:
            command += f" x:{kdb.address(CALL):#x}"
    answer = step_beside(target, command) if debuggers.stepped else target.run(command, 30)
    found = answer.figures
    target.metrics.update(found)
    if found["stuck"] or found["off_order"]:
        raise KernelFault(
            Signature.STUCK if found["stuck"] else Signature.OFF_ORDER, answer.text.splitlines()[0]
        )
    if found["reported_otherwise"]:
        raise KernelFault(Signature.WRONG_RESULT, answer.text.splitlines()[0])
    if found["counted"] != found["counts"]:
        raise KernelFault(
            Signature.RUNAWAY,
            f"in {found['steps']} steps the program ran an instruction {found['counted']} times,"
            f" and was stepped over it {found['counts']} times",
        )
    if (not found["signals"] and not debuggers.stepped) or found["handled"] != found["signals"]:
        raise KernelFault(
            Signature.MISSED_HITS,
            f"{found['signals']} signals came and {found['handled']} were handled",
        )
    if debuggers.watched:
        must_be_exact(found["run_hits"], found["handled"], "runs of the handler")
        must_be_exact(found["write_hits"], found["handled"], "writes of the handler")
        # watch-in-interrupt judges if there are more.
        must_not_be_missed(found["call_hits"], found["calls"], "system calls")


def step_beside(target: Target, command: str) -> CommandResult:
    """Step the kernel in kdb in system calls of the program, which ptrace steps."""
    with target.stopped_at(CALL, command, 60) as stop:
        for _ in stop.times(STOPS):
            for step in target.steps_to_a_return(STEPS):
                step.must_follow_program_order()
    return stop.answer
