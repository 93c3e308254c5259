# SPDX-License-Identifier: GPL-2.0-only
"""Does a step go in order wherever the kernel runs, and not in system calls alone?

Claim: patch 1/2 knows an interrupt that found a step owed by SPSR.SS, and asks nothing about
the code that was interrupted; so a step of a softirq, which runs with interrupts on behind
an interrupt's handler, or of a kernel thread, which has no user space to return to, is as good
as one of a system call. Made by nobody; the series was tried in system calls.

Measured: up to 300 steps in a softirq, in a worker of a workqueue, and in the handler of an
interrupt itself, where interrupts are masked, so that nothing is due at a step. Each against
program order; and at the function's return, which is as far as it goes, its caller's registers
and masks. Not beyond: the softirq's and the worker's callers compare the preemption count with
what it was, and kgdb holds a lock while it steps (kernel/debug/debug_core.c).

Refuted by a step that goes elsewhere, as in `step-in-order`, and by a clock that stands or a
guest that does not answer afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.session.target import Target

STEPS = 300
SETTLED = 200  # steps after which a return is as good an end: nothing is half done there

# kernel/rcu/tree.c: some ticks after a callback is queued, as by the end of a task
SOFTIRQ = Stepped("rcu_core_si", "for i in $(seq 20); do (:); sleep 0.02; done", "in a softirq")
# fs/sync.c: by a worker of system_wq; sysrq's `s` asks for it
WORKER = Stepped("do_sync_work", "echo s > /proc/sysrq-trigger; sleep 1", "in a worker")
# kernel/time/timer.c: by the timer's interrupt, at each tick of a processor that is busy
HANDLER = Stepped("update_process_times", "sleep 0.5", "in an interrupt's handler")


@session(
    claim="A step goes in order in a softirq, in a kernel thread, in an interrupt's handler.",
    cases=(SOFTIRQ, WORKER, HANDLER),
    area="steps",
)
def step_in_context(target: Target, function: Stepped) -> None:
    """Step a function that no system call leads to, up to its return."""
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
