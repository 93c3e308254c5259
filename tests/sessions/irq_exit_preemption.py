# SPDX-License-Identifier: GPL-2.0-only
"""Does a woken thread get the CPU when the interrupt that woke it ends?

Claim: the test in v5 of patch 1/2 that decides whether to reschedule on exit from an
interrupt is inverted, so an interrupted kernel path is never preempted, even without a step.
Made by Will Deacon in the review of v5; v6 corrects the test.

Measured: how often a SCHED_FIFO thread wakes, of 1000 wake-ups due a millisecond apart, and
its longest delay: beside a kernel path of a few hundred milliseconds that never yields, and
beside a loop in user space, to which every variant reschedules on return
(exit_to_user_mode()). The kernel path runs three times: plain; after a step, which may leave
state behind; and with a perf breakpoint on a function that it calls for every page. Then most
interrupts come during a step, and with 1/2 these do not reschedule: the thread must wait
for an interrupt without a step, or for the path to yield.

Refuted by a thread that wakes at most twenty times per round of the kernel path
(`lost-preemption`): it waits for the path's end. Beside the breakpoint a round takes longer;
there it is refuted by a thread that gets less than a fifth of its wake-ups while the breakpoint
is hit more than two hundred times per wake-up. Counts of what the guest did judge this, not time: a
host that stalls costs wake-ups, but none while the path runs.
Without CONFIG_PREEMPT interrupt exit never reschedules, and this path yields by
cond_resched(); so there the variants must not differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.session import session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.session.target import Target

SLEEPER = "sleeper --fifo 50 1000 1000"
USER_LOOP = "(while :; do :; done)"
FEW = 20  # wake-ups per round; a few if the path is not preempted, hundreds if it is
CLEARS = "__arch_clear_user"  # arch/arm64/lib/clear_user.S: called for every page
SHARE = 0.2  # of the wake-ups that are due
PER_WAKE = 200  # hits per wake-up: 5 to 70 if interrupts reschedule, a thousand if none does


@session(
    claim="A thread woken by an interrupt preempts the interrupted kernel path.",
    area="preemption",
)
def irq_exit_preemption(target: Target) -> None:
    """Let a thread sleep beside user space and beside a kernel path."""
    user = target.run(f"{USER_LOOP} & {SLEEPER}; kill $!; wait", 30).figures
    note(target, "beside_user", user)
    sleep_beside_kernel(target, "beside_kernel", user)
    with target.in_kdb():
        target.step_unjudged()
    sleep_beside_kernel(target, "after_a_step", user)
    sleep_beside_a_breakpoint(target)


def sleep_beside_kernel(target: Target, name: str, user: Mapping[str, int]) -> None:
    """Let the thread sleep beside the kernel path, and compare."""
    kernel = target.run(f"zeros {SLEEPER}", 30).figures
    note(target, name, kernel)
    if kernel["woken"] <= FEW * kernel["rounds"]:
        raise KernelFault(
            Signature.LOST_PREEMPTION,
            f"{name.replace('_', ' ')}: the thread woke {kernel['woken']} times in"
            f" {kernel['rounds']} rounds of a kernel path, and {user['woken']} times as long"
            " beside user space",
        )


def sleep_beside_a_breakpoint(target: Target) -> None:
    """Let the thread sleep beside the kernel path while perf steps over a breakpoint in it."""
    with target.in_kdb() as kdb:
        address = kdb.address(CLEARS)
    watched = target.run(f"zeros x:{address:#x} {SLEEPER}", 30).figures
    note(target, "watched", watched)
    target.metrics["hits_watched"] = watched["hits"]
    if watched["hits"] <= watched["rounds"]:
        raise KernelFault(
            Signature.MISSED_HITS,
            f"in {watched['rounds']} rounds {CLEARS}() was hit {watched['hits']} times",
        )
    woken = watched["woken"]
    if woken < SHARE * watched["due"] and watched["hits"] > PER_WAKE * woken:
        raise KernelFault(
            Signature.LOST_PREEMPTION,
            f"beside a breakpoint the thread woke {woken} of {watched['due']} times, while the"
            f" breakpoint was hit {watched['hits']} times",
        )


def note(target: Target, name: str, slept: Mapping[str, int]) -> None:
    """Record what the thread got as metrics."""
    for figure in ("woken", "worst_us", "rounds"):
        if figure in slept:
            target.metrics[f"{figure}_{name}"] = slept[figure]
