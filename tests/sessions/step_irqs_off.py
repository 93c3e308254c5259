# SPDX-License-Identifier: GPL-2.0-only
"""Does stepped code read the DAIF that it wrote?

Claim: a debugger must not mask interrupts to protect a step, because stepped code reads and
writes DAIF itself, and would see or undo what the debugger did. Made by Will Deacon in 2020 and
Mark Rutland in 2025, against patches that mask interrupts where 1/2 suspends the step.

Measured: steps through code that masks and unmasks interrupts: with spin_lock_irq(), which is
local_irq_disable() and a lock; with spin_lock_irqsave() and its `mrs`; nested; and
starting with interrupts masked. The expected DAIF is computed from its value at the start and
the instructions since. It is compared with what each `mrs xN, daif` reads and, after each
instruction that reads or writes DAIF, with the PSTATE of the stopped context. An interrupt is
always pending, so one is taken as soon as they are unmasked.

Refuted by another value (`masked-interrupts`), or by a step that leaves program order when
interrupts are unmasked, as in `step-in-order`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.judge.masks import Masks
from kstep.session.session import Stepped, Unless, session
from kstep.session.stepping import LONG_PATH

if TYPE_CHECKING:
    from kstep.session.target import Target

# fs/pipe.c: wakes waiters when the program exits with both ends open
PIPE = Stepped("pipe_release", "syscall pipe2 1 @ 0", "spin_lock_irqsave()")
FUNCTIONS = (
    # kernel/time/itimer.c: the signal handlers' lock, and nested in it the timer base's
    Stepped("__arm64_sys_getitimer", "syscall getitimer 1 0 @", "spin_lock_irq()"),
    # kernel/time/hrtimer.c: called by it with the signal handlers' lock held
    Stepped("__hrtimer_get_remaining", "syscall getitimer 1 0 @", "begins with interrupts off"),
    PIPE,
)


@session(
    claim="Stepped code reads and writes the same DAIF as without a debugger.",
    cases=FUNCTIONS,
    # include/linux/spinlock_rt.h; in the other cases there is a raw spinlock
    unless=(
        Unless(
            "CONFIG_PREEMPT_RT",
            "spin_lock_irqsave() is a lock that sleeps, and masks nothing",
            (PIPE.name,),
        ),
    ),
    area="steps",
)
def step_irqs_off(target: Target, function: Stepped) -> None:
    """Step through code that masks interrupts, until it has unmasked them and returned."""
    with target.stopped_at(function.name, function.trigger):
        masks = Masks.here(target.kdb)
        for step in target.steps(LONG_PATH):
            step.must_follow_program_order()
            step.must_make_progress()
            masks.must_match_daif(step)
            if masks.unmasked and step.returned:
                break
        masks.must_still_hold()
        target.metrics.update(daif_reads=masks.reads, daif_writes=masks.writes)
        if not masks.unmasked:
            raise MachineryError(f"{function.name} did not mask and unmask interrupts")
    target.must_tick()
