# SPDX-License-Identifier: GPL-2.0-only
"""Is all this the same for a kernel that runs at EL2?

Claim: it is. Nobody said otherwise, but the series was tried in virtual machines, whose kernels
run at EL1, and where firmware hands over at EL2, as on most servers, a kernel stays there
(VHE; arch/arm64/kernel/hyp-stub.S). Debug exceptions are routed otherwise then (HCR_EL2.TGE),
and SPSR_EL1 and ELR_EL1 are other registers, while MDSCR_EL1, and so what 1/2 and 2/2 write, is
the same (Arm ARM, D2 and D13).

Measured: `step`: what step-in-order does; `go`: what continue-past-breakpoint does, for each of
its functions; `watch`: what watch-in-interrupt does with two breakpoints, judged by the task's.

Refuted as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.machine.hardware import Hardware
from kstep.session.checks import checks
from kstep.session.functions import FUNCTIONS, TAKES_SPINLOCK
from kstep.session.session import session
from tests.sessions.continue_past_breakpoint import continue_past_breakpoint
from tests.sessions.step_in_order import step_in_order
from tests.sessions.watch_in_interrupt import PAIRS, watch_in_interrupt

if TYPE_CHECKING:
    from kstep.session.checks import Check
    from kstep.session.target import Target

MODE, EL2H = 0xF, 9  # of PSTATE: arch/arm64/include/uapi/asm/ptrace.h
BREAKPOINTS = next(pair for pair in PAIRS if pair.name == "bp_with_bp_in_task")


def step(target: Target) -> None:
    """Step from a breakpoint, and go on."""
    step_in_order(target, TAKES_SPINLOCK)


def go(target: Target) -> None:
    """Go on from breakpoints."""
    for function in FUNCTIONS:
        continue_past_breakpoint(target, function)


def watch(target: Target) -> None:
    """Count the hits of a breakpoint that perf steps over."""
    watch_in_interrupt(target, BREAKPOINTS)


@session(
    claim="A kernel at EL2 is stepped as one at EL1 is.",
    cases=checks(step, go, watch),
    hardware=Hardware(el2=True),
    area="steps",
)
def step_at_el2(target: Target, check: Check) -> None:
    """See that the kernel is at EL2, and use the debugger."""
    with target.in_kdb() as kdb:
        if kdb.registers()["pstate"] & MODE != EL2H:
            raise MachineryError("this machine has no EL2 for its kernel, or the kernel left it")
    check.script(target)
    target.must_tick()
