# SPDX-License-Identifier: GPL-2.0-only
"""Does a woken thread get the processor when the interrupt that woke it ends?

Claim: v5 of patch 1/2 tests the wrong way round whether to reschedule on the way out of
an interrupt, so that an interrupted kernel path is never preempted, although nobody
steps. Made by Will Deacon in the review of v5; v6 has the test turned round.

Measured: the wake-ups that a SCHED_FIFO thread gets, of 1000 due a millisecond apart, and
their longest delay, beside a kernel path of some hundred milliseconds that never gives way
by itself, and beside a loop in user space, the way back to which reschedules in every
variant (exit_to_user_mode()). The kernel path comes three times: as it is; after a step, for
that may leave something behind; and with a breakpoint of perf's on a function that it calls
for every page. Then most interrupts find a step owed, and with 1/2 these do not reschedule: the
thread has to wait for the next one that finds none, or for the path to give way.

Refuted by a thread that wakes no more than twenty times a round of the kernel path
(`lost-preemption`): it waits for the path's end. Beside the breakpoint, where a round takes
longer, by one that wakes for less than a fifth of what is due while the breakpoint is hit
more than sixty times for each time that it does. That is judged by counts of what the guest
did, not by time: a machine that stalls costs wake-ups, but none while the path runs.
Without CONFIG_PREEMPT interrupt exit never reschedules, and this path gives way by
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
FEW = 20  # wake-ups a round; a few where the path does not give way, hundreds where it does
CLEARS = "__arch_clear_user"  # arch/arm64/lib/clear_user.S: called for every page
SHARE = 0.2  # of the wake-ups that are due
PER_WAKE = 60  # hits for each: 5 to 30 where interrupts reschedule, hundreds where none does


@session(
    claim="An interrupted kernel path gives way to the thread that the interrupt woke.",
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
    """Keep what the thread got."""
    for figure in ("woken", "worst_us", "rounds"):
        if figure in slept:
            target.metrics[f"{figure}_{name}"] = slept[figure]
