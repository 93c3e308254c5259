# SPDX-License-Identifier: GPL-2.0-only
"""Does a woken thread get the processor when the interrupt that woke it ends?

Claim: v5 of patch 1/2 tests the wrong way round whether to reschedule on the way out of
an interrupt, so that an interrupted kernel path is never preempted, although nobody
steps. Made by Will Deacon in the review of v5; v6 has the test turned round.

Measured: the wake-ups that a SCHED_FIFO thread gets, of 1000 due a millisecond apart, and
their longest delay, beside a kernel path of some hundred milliseconds that never gives way
by itself, and beside a loop in user space, the way back to which reschedules in every
variant (exit_to_user_mode()).

Refuted by a thread that wakes no more than twenty times a round of the kernel path
(`lost-preemption`): it waits for the path's end. That is judged by counts of what the guest
did, not by time: a machine that stalls costs wake-ups, but none while the path runs.
Without CONFIG_PREEMPT interrupt exit never reschedules, and this path gives way by
cond_resched(); so there the variants must not differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.outcome import KernelFault, Signature
from kstep.session import session

if TYPE_CHECKING:
    from kstep.target import Target

SLEEPER = "sleeper --fifo 50 1000 1000"
USER_LOOP = "(while :; do :; done)"
FEW = 20  # wake-ups a round; a few where the path does not give way, hundreds where it does


@session(claim="An interrupted kernel path gives way to the thread that the interrupt woke.")
def irq_exit_preemption(target: Target) -> None:
    """Let a thread sleep beside user space and beside a kernel path."""
    user = target.run(f"{USER_LOOP} & {SLEEPER}; kill $!; wait", 30).figures
    kernel = target.run(f"zeros {SLEEPER}", 30).figures
    target.metrics["rounds"] = kernel["rounds"]
    for place, slept in (("user", user), ("kernel", kernel)):
        target.metrics[f"woken_beside_{place}"] = slept["woken"]
        target.metrics[f"worst_us_beside_{place}"] = slept["worst_us"]
    if kernel["woken"] <= FEW * kernel["rounds"]:
        raise KernelFault(
            Signature.LOST_PREEMPTION,
            f"the thread woke {kernel['woken']} times in {kernel['rounds']} rounds of a kernel"
            f" path, and {user['woken']} times as long beside user space",
        )
