# SPDX-License-Identifier: GPL-2.0-only
"""Does a program keep its registers when its system call is stepped?

Claim: it must. Not raised in the review, but an interrupt during a step takes a new path with
1/2. That path could corrupt what the kernel keeps for the program (its general registers on the
stack, its floating-point registers and thread pointer in the CPU), and a comparison of the
kernel's registers would not notice.

Measured: a program puts a value in each of its registers, makes a system call, and checks
which of them changed, except the result: general registers, floating point with its control
and status, flags, thread pointer and stack pointer. In `stepped` kdb steps through each call up
to a return, with an interrupt pending at every step; in `watched` perf steps over its
breakpoints while an interrupt comes every 100 microseconds.

Refuted by a register that changed (`wrong-registers`), or by a step that goes elsewhere, as in
step-in-order. Fewer hits than calls are `missed-hits`; watch-in-interrupt judges more hits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.checks import checks
from kstep.session.hits import must_not_be_missed
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.console.shell import CommandResult
    from kstep.session.checks import Check
    from kstep.session.target import Target

FUNCTION = "__arm64_sys_gettid"  # kernel/sys.c
STEPPED = 20  # calls
STEPS = 4  # in each call, and then to the next return
WATCHED = 20_000  # calls; an interrupt comes in about a hundred of them
OFTEN = 100  # microseconds


def stepped(target: Target) -> None:
    """Step through each call."""
    with target.stopped_at(FUNCTION, f"untouched {STEPPED}") as stop:
        for _ in stop.times(STEPPED):
            for step in target.steps_to_a_return(STEPS):
                step.must_follow_program_order()
    must_be_untouched(target, stop.answer)


def watched(target: Target) -> None:
    """Let perf step over a breakpoint in each call."""
    with target.in_kdb() as kdb:
        address = kdb.address(FUNCTION)
    answer = target.run(f"untouched {WATCHED} {OFTEN} x:{address:#x}", 30)
    # watch-in-interrupt judges if there are more.
    must_not_be_missed(answer.figures["hits"], answer.figures["calls"], "calls")
    must_be_untouched(target, answer)


def must_be_untouched(target: Target, answer: CommandResult) -> None:
    """Raise KernelFault if calls returned with other registers."""
    counted = answer.figures
    target.metrics.update(counted)
    if counted["changed"]:
        raise KernelFault(
            Signature.WRONG_REGISTERS,
            f"{counted['changed']} of {counted['calls']} calls returned with other registers:"
            f" {'; '.join(line for line in answer.text.splitlines() if ' became ' in line)}",
        )


@session(
    claim="A program keeps its registers when its system call is stepped.",
    cases=checks(stepped, watched),
    area="user space",
)
def user_registers(target: Target, check: Check) -> None:
    """Let a program check its registers after stepped calls."""
    check.script(target)
