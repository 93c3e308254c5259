# SPDX-License-Identifier: GPL-2.0-only
"""Does a woken thread get the processor when the interrupt that woke it ends?

Claim: v5 of patch 1/2 tests the wrong way round whether to reschedule on the way out of
an interrupt, so that an interrupted kernel path is never preempted, although nobody
steps. Made by Will Deacon in the review of v5; v6 has the test turned round.

Measured: the wake-ups that a SCHED_FIFO thread gets, of 500 due a millisecond apart,
beside a kernel path that never gives way by itself; and their longest delay. The path is
traverse() (fs/seq_file.c) over 19,000 symbols, some ten milliseconds without a lock and
without cond_resched(). Beside a loop in user space the same thread gets what this machine
can give: the way back to user space reschedules in every variant (exit_to_user_mode()).
The two take turns, and only their proportion counts, so a machine that stalls does not.

Refuted by a thread that gets less than a quarter beside the kernel path (`lost-preemption`).
A kernel without CONFIG_PREEMPT loses them in every variant, which shows that the path does
not give way: there the variants must not differ.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kstep.errors import MachineryError
from kstep.outcome import KernelFault, Signature
from kstep.session import session

if TYPE_CHECKING:
    from kstep.target import Target

USER_LOOP = "(while :; do :; done)"
# An offset near the end, and never the one that the file stands at.
KERNEL_PATH = "syscall pread64 1000000 0 @ 1 700000 < /proc/kallsyms"
SLEEPER = "sleeper --fifo 50 1000 500"
TURNS = 2
ENOUGH = 50  # wake-ups a turn beside user space, or the machine is too slow to tell


@session(claim="An interrupted kernel path gives way to the thread that the interrupt woke.")
def irq_exit_preemption(target: Target) -> None:
    """Let a thread sleep beside user space and beside a kernel path, in turns."""
    woken: Counter[str] = Counter()
    for _ in range(TURNS):
        for place, work in (("user", USER_LOOP), ("kernel", KERNEL_PATH)):
            sleeper = target.run(f"{work} > /dev/null & {SLEEPER}; kill $!; wait").figures
            woken[place] += sleeper["woken"]
            target.metrics[f"woken_beside_{place}"] = woken[place]
            worst = f"worst_us_beside_{place}"
            target.metrics[worst] = max(target.metrics.get(worst, 0), sleeper["worst_us"])
    if woken["user"] < TURNS * ENOUGH:
        raise MachineryError(
            f"beside user space the thread woke {woken['user']} times of {TURNS * 500}:"
            " this machine is too slow to tell"
        )
    if 4 * woken["kernel"] < woken["user"]:
        raise KernelFault(
            Signature.LOST_PREEMPTION,
            f"of {TURNS * 500} wake-ups the thread got {woken['user']} beside user space and"
            f" {woken['kernel']} beside a kernel path",
        )
