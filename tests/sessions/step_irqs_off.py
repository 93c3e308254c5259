# SPDX-License-Identifier: GPL-2.0-only
"""Does stepped code find DAIF as it left it?

Claim: a step must not be shielded from interrupts by masking them, for stepped code reads
and writes DAIF itself, and would see or undo what the debugger did. Will Deacon in 2020 and
Mark Rutland in 2025, against patches that mask instead of what 1/2 does.

Measured: steps through code that masks interrupts and gives them back, with
spin_lock_irq(), which is local_irq_disable() and a lock, with spin_lock_irqsave() and its
`mrs`, one within the other, and from where they are masked already. What DAIF has to be is
computed from where the path began and from the instructions since; held against it are what
each `mrs xN, daif` reads and, after each instruction that reads or writes it, the stopped
context's PSTATE. Interrupts are due all the while, so one comes as soon as they are on.

Refuted by another value (`masked-interrupts`), or by a step that leaves program order where
interrupts come on, as in `step-in-order`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.judge.masks import Masks
from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.session.target import Target

FUNCTIONS = (
    # kernel/time/itimer.c: the signal handlers' lock, and in it the timer base's
    Stepped("__arm64_sys_getitimer", "syscall getitimer 1 0 @", "spin_lock_irq()"),
    # kernel/time/hrtimer.c: called by it with the first of them held
    Stepped("__hrtimer_get_remaining", "syscall getitimer 1 0 @", "begins with interrupts off"),
    # fs/pipe.c: wakes those that wait, as the program ends with both ends open
    Stepped("pipe_release", "syscall pipe2 1 @ 0", "spin_lock_irqsave()"),
)


@session(
    claim="DAIF as stepped code reads and writes it is what it would be without a debugger.",
    cases=FUNCTIONS,
    area="steps",
)
def step_irqs_off(target: Target, function: Stepped) -> None:
    """Step through code that masks interrupts, until it has given them back and returned."""
    with target.stopped_at(function.name, function.trigger):
        masks = Masks.here(target.kdb)
        for step in target.steps(500):
            step.must_follow_program_order()
            masks.must_match_daif(step)
            if masks.unmasked and step.returned:
                break
        masks.must_still_hold()
        target.metrics.update(daif_reads=masks.reads, daif_writes=masks.writes)
        if not masks.unmasked:
            raise MachineryError(f"{function.name} has not masked interrupts and given them back")
    target.must_tick()
