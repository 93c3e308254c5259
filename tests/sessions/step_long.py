# SPDX-License-Identifier: GPL-2.0-only
"""Does stepping still go in order after ten thousand steps?

Claim: with patch 1/2 a step is in order however many went before it. Made by the cover letter of
the series, which was tested with a handful of steps; a fault that needs a rare coincidence (an
interrupt that reschedules, a softirq, a timer that is reprogrammed) needs many.

Measured: `work`: at least ten thousand steps, through printk down to the serial line, and
through the allocator, the locks and the formatting of a file in /proc. `switch`: through
sched_yield() and the switch to another task. `clock`: through a mkdir, which reads the time.
Each step must follow program order and make progress.

Refuted by one step that goes elsewhere, or by a path that loops (`livelock`).

`switch` cannot pass with the kgdb of 6.1, whatever entry.S does: kgdb holds dbg_slave_lock
(kgdb_cpu_enter() in kernel/debug/debug_core.c) while it steps, a raw spinlock, whose
preempt_disable() counts for the stepped code. So __schedule() prints "BUG: scheduling while
atomic" (`splat`). For the same reason stepped code is never preempted.

`clock` cannot pass either if a step takes longer than a tick, and with a tick of a millisecond
each does: ktime_get_coarse_real_ts64() (kernel/time/timekeeping.c) reads the time again if the
tick has written it meanwhile, and with patch 1/2 the tick's handler runs to completion between
any two steps (`livelock`). That cost was not raised in review; without the patches no step gets
there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.session.target import Target

PRINT = Stepped("devkmsg_write", "echo kstep > /dev/kmsg", "kernel/printk/printk.c")
READ = Stepped("seq_read_iter", "cat /proc/meminfo", "fs/seq_file.c, then fs/proc/meminfo.c")
YIELD = Stepped(
    "do_sched_yield", "(while :; do :; done) & syscall sched_yield; kill $!", "kernel/sched/core.c"
)


@dataclass(frozen=True)
class LongPath:
    """Paths that are stepped one after another, at least ``steps`` steps in all.

    Each path has a limit: reading a file ends with its time stamp, which cannot pass (`clock`),
    and printk's path must be stepped to its end, because `go` in the middle of it leaves the
    task with a preemption count that is too high (6.12).
    """

    name: str
    steps: int
    paths: tuple[tuple[Stepped, int], ...]


# fs/inode.c sets the times of the new directory, about 500 steps later
MKDIR = Stepped("vfs_mkdir", "mkdir /tmp/new && rmdir /tmp/new", "fs/namei.c")

LONG_PATHS = (
    LongPath("work", 10_000, ((PRINT, 40_000), (READ, 5000))),
    LongPath("switch", 1, ((YIELD, 1500),)),
    LongPath("clock", 1, ((MKDIR, 2000),)),
)


@session(claim="Ten thousand steps go in order.", cases=LONG_PATHS, area="steps")
def step_long(target: Target, long: LongPath) -> None:
    """Step the paths, one after another, until there are enough steps."""
    taken = 0
    for function, most in cycle(long.paths):
        taken += step_through(target, function, most)
        if taken >= long.steps:
            break
    target.must_tick()


def step_through(target: Target, function: Stepped, most: int) -> int:
    """Step a function's path to its end, or to a return after ``most`` steps; return how many."""
    taken = 0
    with target.stopped_at(function.name, function.trigger) as stop:
        stop.clear()
        for step in target.steps_to_a_return(most):
            step.must_follow_program_order()
            step.must_make_progress()
            taken += 1
    return taken
