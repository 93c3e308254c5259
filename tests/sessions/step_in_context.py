# SPDX-License-Identifier: GPL-2.0-only
"""Does a step go in order outside system calls too?

Claim: patch 1/2 recognises an interrupt during a step by SPSR.SS alone, whatever code was
interrupted. So a step works in a softirq, which runs with interrupts on after an interrupt's
handler, and in a kernel thread, which has no user space to return to, as it does in a system
call. Not raised in the review; the series was tested in system calls.

Measured: up to 300 steps in a softirq, in a worker of a workqueue, and in an interrupt's
handler, where interrupts are masked, so that none is taken at a step. Each against program
order; at the function's return, where it ends, its caller's registers and masks. No further:
the callers of the softirq and the worker check that the preemption count is unchanged, and kgdb
holds a lock while it steps (kernel/debug/debug_core.c).

Refuted by a step that goes elsewhere, as in `step-in-order`, and by a clock that does not tick
or a guest that does not answer afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.session.session import Stepped, Unless, session

if TYPE_CHECKING:
    from kstep.session.target import Target

STEPS = 300
SETTLED = 200  # steps after which any return is a safe end

# kernel/rcu/tree.c: runs some ticks after a callback is queued, for example by a task's exit
SOFTIRQ = Stepped("rcu_core_si", "for i in $(seq 20); do (:); sleep 0.02; done", "in a softirq")
# fs/sync.c: a worker of system_wq runs it after sysrq's `s`
WORKER = Stepped("do_sync_work", "echo s > /proc/sysrq-trigger; sleep 1", "in a worker")
# kernel/time/timer.c: the timer interrupt runs it at each tick of a busy CPU
HANDLER = Stepped("update_process_times", "sleep 0.5", "in an interrupt's handler")


@session(
    claim="A step goes in order in a softirq, a kernel thread and an interrupt's handler.",
    cases=(SOFTIRQ, WORKER, HANDLER),
    # kernel/rcu/tree.c: use_softirq
    unless=(
        Unless(
            "CONFIG_PREEMPT_RT",
            "RCU's callbacks run in a thread, not in a softirq",
            (SOFTIRQ.name,),
        ),
    ),
    area="steps",
)
def step_in_context(target: Target, function: Stepped) -> None:
    """Step a function that no system call calls, up to its return."""
    with target.stopped_at(function.name, function.trigger, at_once=True) as stop:
        stop.clear()
        call = target.call()
        for step in target.steps(STEPS):
            step.must_follow_program_order()
            step.must_make_progress()
            call.must_preserve_callee_saved(step)
            if step.returned and (step.after.address == call.returns_to or step.number >= SETTLED):
                break
    target.must_tick()
