# SPDX-License-Identifier: GPL-2.0-only
"""Does stepping work the same in a kernel that runs at EL2?

Claim: it does. Not raised in the review, but the series was tested in virtual machines, whose
kernels run at EL1. If the firmware enters the kernel at EL2, as on most servers, the kernel
stays there (VHE; arch/arm64/kernel/hyp-stub.S). Then debug exceptions are routed differently
(HCR_EL2.TGE), and SPSR_EL1 and ELR_EL1 name other registers; MDSCR_EL1, which 1/2 writes, is
the same (Arm ARM, D2 and D13).

Measured: `step`: as in step-in-order; `go`: as in continue-past-breakpoint, for each of its
functions; `watch`: as in watch-in-interrupt with two breakpoints; the task's hits are judged.

Refuted as in those sessions.
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
    claim="Stepping works the same in a kernel at EL2 as at EL1.",
    cases=checks(step, go, watch),
    hardware=Hardware(el2=True),
    area="steps",
)
def step_at_el2(target: Target, check: Check) -> None:
    """Check that the kernel is at EL2, and use the debugger."""
    with target.in_kdb() as kdb:
        if kdb.registers()["pstate"] & MODE != EL2H:
            raise MachineryError("the kernel does not run at EL2: no EL2, or the kernel left it")
    check.script(target)
    target.must_tick()
