# SPDX-License-Identifier: GPL-2.0-only
"""Does stepping still go in order after ten thousand steps?

Claim: with patch 1/2 a step is in order however many went before it. Made by the cover letter of
the series, which was tested with a handful of steps; a fault that needs a rare coincidence (an
interrupt that reschedules, a softirq, a timer that is reprogrammed) needs many.

Measured: `work`: at least ten thousand steps, through printk down to the serial line, and
through the allocator, the locks and the formatting of a file in /proc. `switch`: through
sched_yield() and the switch to another task. `clock`: through the reading of the time for a new
directory, with more than a tick between any two steps, as by hand. `preempted`: through the locks
of a mkdir, while another task wants the CPU; without CONFIG_PREEMPTION nothing can preempt there,
and the case only steps. Each step must follow program order and make progress.

Refuted by one step that goes elsewhere, or by a path that loops (`livelock`); in `preempted` by a
path that is led through the scheduler, because the tick between two steps asked for the other
task (`off-order`).

`switch` cannot pass with the kgdb of 6.1, whatever entry.S does: kgdb holds dbg_slave_lock
(kgdb_cpu_enter() in kernel/debug/debug_core.c) while it steps, a raw spinlock, whose
preempt_disable() counts for the stepped code. So __schedule() prints "BUG: scheduling while
atomic" (`splat`). For the same reason stepped code is never preempted.

`clock` cannot pass either if a step takes longer than a tick: ktime_get_coarse_real_ts64()
(kernel/time/timekeeping.c) reads the time again if the tick has written it meanwhile, and with
patch 1/2 the tick's handler runs to completion between any two steps (`livelock`). That cost was
not raised in review; without the patches no step gets there. The session waits before each step,
or the speed of this machine would decide. It starts where the clock is read: how many steps lead
there depends on what the allocator has at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.session import Unless, session

if TYPE_CHECKING:
    from kstep.session.target import Target


@dataclass(frozen=True)
class Path:
    """A path from a function: the first of ``functions`` that the kernel has.

    It is stepped to its end, or to a return after ``most`` steps. The limits matter: reading a
    file ends with its time stamp, which cannot pass (`clock`), and printk's path must be stepped
    to its end, because `go` in the middle of it leaves the task with a preemption count that is
    too high (6.12).
    """

    functions: tuple[str, ...]
    trigger: str
    most: int


# kernel/printk/printk.c
PRINT = Path(("devkmsg_write",), "echo kstep > /dev/kmsg", 40_000)
# fs/seq_file.c, then fs/proc/meminfo.c
READ = Path(("seq_read_iter",), "cat /proc/meminfo", 5000)
# kernel/sched/core.c
YIELD = Path(("do_sched_yield",), "(while :; do :; done) & syscall sched_yield; kill $!", 1500)
# kernel/time/timekeeping.c, for the times of the new inode; the first of them since 6.13
READ_CLOCK = Path(
    ("ktime_get_coarse_real_ts64_mg", "ktime_get_coarse_real_ts64"),
    "mkdir /tmp/new && rmdir /tmp/new",
    1,
)
# fs/namei.c; the time of the new inode is read some 800 steps later (`clock`)
LOCK = Path(
    ("vfs_mkdir",), "(while :; do :; done) & mkdir /tmp/new && rmdir /tmp/new; kill $!", 400
)


@dataclass(frozen=True)
class LongPath:
    """Paths that are stepped one after another, at least ``steps`` steps in all.

    With ``tick_due``, a timer interrupt is due at each step, as it is when stepping by hand. With
    ``unpreempted``, no step may lead to preempt_schedule() (kernel/sched/core.c), which is what
    preempt_enable() calls if another task should run.
    """

    name: str
    steps: int
    paths: tuple[Path, ...]
    tick_due: bool = False
    unpreempted: bool = False


LONG_PATHS = (
    LongPath("work", 10_000, (PRINT, READ)),
    LongPath("switch", 1, (YIELD,)),
    LongPath("clock", 1, (READ_CLOCK,), tick_due=True),
    LongPath("preempted", 1, (LOCK,), unpreempted=True),
)


@session(
    claim="Ten thousand steps go in order.",
    cases=LONG_PATHS,
    # include/linux/seqlock.h: a reader of the clock tells lockdep in each round.
    # mm/kasan/generic.c: each load and store is a call, whose return ends the path too early.
    unless=tuple(
        Unless(
            option,
            "a round of the clock's loop, and the way to schedule(), are too long",
            ("switch", "clock"),
        )
        for option in ("CONFIG_PROVE_LOCKING", "CONFIG_KASAN")
    ),
    area="steps",
)
def step_long(target: Target, long: LongPath) -> None:
    """Step the paths, one after another, until there are enough steps."""
    taken = 0
    for path in cycle(long.paths):
        taken += step_through(target, path, long)
        if taken >= long.steps:
            break
    target.must_tick()


def step_through(target: Target, path: Path, long: LongPath) -> int:
    """Step one of its paths; return the number of steps."""
    taken = 0
    with target.stopped_at(target.known(*path.functions), path.trigger) as stop:
        stop.clear()
        for step in target.steps_to_a_return(path.most):
            step.must_follow_program_order()
            step.must_make_progress()
            if long.unpreempted and "preempt_schedule" in step.after.symbol:
                raise KernelFault(
                    Signature.OFF_ORDER,
                    f"step {step.number} from {step.before} leads to {step.after}: a tick between"
                    " two steps has the stepped code preempted",
                )
            if long.tick_due:
                target.wait_for_pending_tick()
            taken += 1
    return taken
