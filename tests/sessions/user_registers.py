# SPDX-License-Identifier: GPL-2.0-only
"""Does a program find its registers as it left them when its system call was stepped?

Claim: it must. Nobody said otherwise, but an interrupt during a step goes a way of its own
with 1/2, and what the kernel keeps for the program (its general registers on the stack, those
of floating point and the thread pointer in the processor) is in that way's reach, where no
comparison of the kernel's own registers sees it.

Measured: a program puts a value in each of its registers, makes a system call, and looks
which of them are not as before, but for the result: general ones, floating point with its
control and status, flags, thread pointer and stack pointer. In `stepped` kdb steps through each
call up to a return, an interrupt being due at every step; in `watched` perf's breakpoints step
by themselves while an interrupt comes every 100 microseconds.

Refuted by a register that is not as it was (`wrong-registers`), or by a step that goes elsewhere,
as in step-in-order. Fewer hits than calls are `missed-hits`; more are watch-in-interrupt's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.checks import checks
from kstep.session.hits import must_not_be_missed
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.console.shell import Answer
    from kstep.session.checks import Check
    from kstep.session.target import Target

FUNCTION = "__arm64_sys_gettid"  # kernel/sys.c
STEPPED = 20  # calls
STEPS = 4  # in each, and on to the next return
WATCHED = 20_000  # calls; some hundred of them meet an interrupt
OFTEN = 100  # microseconds


def stepped(target: Target) -> None:
    """Step through each call."""
    with target.in_kdb() as kdb:
        call = kdb.breakpoint(FUNCTION)
    with target.running(f"untouched {STEPPED}") as ended:
        for number in range(STEPPED):
            target.expect_breakpoint(call)
            for step in target.steps_to_a_return(STEPS):
                step.must_follow_program_order()
            if number == STEPPED - 1:
                kdb.clear(call)
            target.go()
    must_be_untouched(target, ended[0])


def watched(target: Target) -> None:
    """Have perf step over a breakpoint in each call."""
    with target.in_kdb() as kdb:
        address = kdb.address(FUNCTION)
    answer = target.run(f"untouched {WATCHED} {OFTEN} x:{address:#x}", 30)
    # More of them is what watch-in-interrupt is for.
    must_not_be_missed(answer.figures["hits"], answer.figures["calls"], "calls")
    must_be_untouched(target, answer)


def must_be_untouched(target: Target, answer: Answer) -> None:
    """Raise KernelFault where calls came back with other registers."""
    counted = answer.figures
    target.metrics.update(counted)
    if counted["changed"]:
        raise KernelFault(
            Signature.WRONG_REGISTERS,
            f"{counted['changed']} of {counted['calls']} calls came back with other registers:"
            f" {'; '.join(line for line in answer.text.splitlines() if ' became ' in line)}",
        )


@session(
    claim="A program whose system call is stepped finds its registers as it left them.",
    cases=checks(stepped, watched),
    area="user space",
)
def user_registers(target: Target, check: Check) -> None:
    """Have a program look at its registers behind calls that are stepped."""
    check.script(target)
