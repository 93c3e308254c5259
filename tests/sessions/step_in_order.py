# SPDX-License-Identifier: GPL-2.0-only
"""Does a single step go to the next instruction in program order?

Claim: with the two patches it does; without them a step from a breakpoint ends in the
interrupt handler, because the timer interrupt is always pending by then. Made by the cover
letter of "arm64: Fix pending single-step debugging issues" (v5, 19 December 2022).

Measured: 300 steps from a breakpoint and those to the next return, fewer if the path returns to
user space, each against what the instruction at the old PC allows. Also that the path makes
progress: an endless loop over an exclusive load/store pair is in order too. And if the function
returns, that its caller's registers and interrupt masks are unchanged: steps also stay in order
if interrupts stay masked.

Refuted by one step that goes elsewhere (`stuck`, `enters-interrupt`, `enters-exception`,
`off-order`, `runaway`), by a path that loops for ever (`livelock`), or by a return with other
registers (`wrong-registers`) or masks (`masked-interrupts`) than at the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.session.functions import FUNCTIONS
from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.session.target import Target


@session(
    claim="A step from a breakpoint goes to the next instruction, whatever the timer does.",
    cases=FUNCTIONS,
    area="steps",
)
def step_in_order(target: Target, function: Stepped) -> None:
    """Step a function's path and check every step against program order."""
    with target.stopped_at(function.name, function.trigger):
        call = target.call()
        for step in target.steps_to_a_return(300):
            step.must_follow_program_order()
            step.must_make_progress()
            call.must_preserve_callee_saved(step)
