# SPDX-License-Identifier: GPL-2.0-only
"""Can the idle loop be stepped, across WFI?

Claim: none was made; it is where a kernel most often is, and where an interrupt is what the
code waits for. WFI is left when an interrupt is pending, masked or not, so a step of it comes
back behind it. It is taken two instructions later, where arch_cpu_idle() unmasks.

Measured: steps from the idle loop's last function that may hold a breakpoint, with interrupts
masked, across WFI, over where they are unmasked, and some way on. The guest sleeps for some
milliseconds, so an interrupt is due when WFI is reached; it sleeps time and again, for a
machine that stalls as long does not idle.

Refuted by a step that leaves program order (`stuck`, `enters-interrupt`, `off-order`) or does
not come back (`runaway`), by a sleeper that is not woken (`hang`), by any complaint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.arm64.branch import WFI
from kstep.arm64.daif import INTERRUPTS
from kstep.base.errors import MachineryError
from kstep.judge.masks import Masks
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

# kernel/sched/idle.c: called by do_idle() with interrupts off. Beyond it all is noinstr or
# on kgdb's block list.
FUNCTION = "arch_cpu_idle_enter"
MOST = 1500  # steps up to WFI: some 120 where the tick is kept, more where it is stopped
SLEEP = "for i in $(seq 20); do sleep 0.05; done"
BEYOND = 40  # steps with interrupts on again: over the one that is due, short of the scheduler


@session(claim="A step across WFI in the idle loop goes to the next instruction.", area="steps")
def step_idle(target: Target) -> None:
    """Step the idle loop until some way behind WFI."""
    with target.stopped_at(FUNCTION, SLEEP, at_once=True):
        masks = Masks.here(target.kdb)
        waited = unmasked = 0
        for step in target.steps(MOST):
            step.must_follow_program_order()
            masks.must_match_daif(step)
            if step.instruction.word == WFI:
                waited = step.number
            if waited and not unmasked and not masks.value & INTERRUPTS:
                unmasked = step.number
            if unmasked and step.number >= unmasked + BEYOND and step.returned:
                break
        target.metrics |= {"steps_to_wfi": waited, "steps_to_unmasked": unmasked}
        if not unmasked:
            raise MachineryError(
                f"within {MOST} steps of {FUNCTION}() there is no WFI with what unmasks behind it"
            )
    target.must_tick()
