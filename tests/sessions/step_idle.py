# SPDX-License-Identifier: GPL-2.0-only
"""Can the idle loop be stepped, across WFI?

Claim: it can. Not raised in the review; a kernel is most often there, and there the code waits
for an interrupt. WFI ends when an interrupt is pending, masked or not, so a step of it ends at
the next instruction. The interrupt is taken two instructions later, where arch_cpu_idle()
unmasks.

Measured: steps from the idle loop's last function that can hold a breakpoint, with interrupts
masked, across WFI, over the unmasking, and further. The guest sleeps for some milliseconds,
so an interrupt is pending when WFI is reached; it sleeps many times, because a host that stalls
that long leaves it no time to idle.

Refuted by a step that leaves program order (`stuck`, `enters-interrupt`, `off-order`) or does
not come back (`runaway`), by a sleeper that is not woken (`hang`), by any splat but lockdep's of
kgdb's lock.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from kstep.arm64.branch import WFI
from kstep.arm64.daif import INTERRUPTS
from kstep.base.errors import MachineryError
from kstep.judge.masks import Masks
from kstep.session.session import session
from kstep.session.stepping import LONG_PATH

if TYPE_CHECKING:
    from kstep.session.target import Target

# kernel/sched/idle.c: called by do_idle() with interrupts off. All after it is noinstr or
# on kgdb's block list.
FUNCTION = "arch_cpu_idle_enter"
SLEEP = "for i in $(seq 20); do sleep 0.05; done"
# kernel/locking/lockdep.c: warns if the locks that are held before and after idling are not the
# same; and kgdb releases its own at go.
LOCKDEP = "lockdep_hardirqs_on"
BEYOND = 40  # steps with interrupts on again: past the pending one, not into the scheduler


@session(claim="A step across WFI in the idle loop goes to the next instruction.", area="steps")
def step_idle(target: Target) -> None:
    """Step the idle loop until some way past WFI."""
    with (
        target.excusing(f"{LOCKDEP}+") if LOCKDEP in target.symbols else nullcontext(),
        target.stopped_at(FUNCTION, SLEEP, at_once=True),
    ):
        masks = Masks.here(target.kdb)
        waited = unmasked = 0
        for step in target.steps(LONG_PATH):
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
                f"no WFI with interrupts unmasked after it within {LONG_PATH} steps of {FUNCTION}()"
            )
    target.must_tick()
