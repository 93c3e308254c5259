# SPDX-License-Identifier: GPL-2.0-only
"""Does a task that gets the CPU on the way out of an exception keep its breakpoints?

Claim: whatever exception ends with another task, that task runs on with debug exceptions unmasked,
and its breakpoints count. Not raised in the review, but the patches mask them and decide what
reschedules on the way out. With the generic entry code, a task that was switched to on the way out
of a fault in the kernel ran on with PSTATE.D and A set (99eb057ccd67, mended by 2371bd83b3df); a
step over a breakpoint of user space left all of DAIF masked (ea0d55ae4b32, v6.17).

Measured on two CPUs: a real-time task on the first one sleeps in read(), and has a perf breakpoint
behind its sleep. The other CPU wakes it thousands of times, at any time of what the first is doing:
faults in the kernel or in user space, system calls, or hits of a breakpoint or watchpoint in user
space, with the kernel's steps over them. In `cpu_` these are the CPU's, and both tasks pass them,
the second while a step over them is due in the first. Waking it from another CPU is what makes a
switch on these ways out likely: the request to reschedule is there before the interrupt that tells
of it.

Refuted by a read after which the breakpoint has not counted (`missed-hits`), a user's hit that was
counted twice or not at all (`double-hits`, `missed-hits`), or a program that does not end
(`hang`). Reads that counted more than once are those of watch-under-load: here they are only
noted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.machine.hardware import Hardware
from kstep.session.hits import must_be_exact, must_not_be_missed
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

# Whichever comes first: a busy host has ten a second. One in 200 meets the way out of a step.
WAKES, SECONDS = 2000, 20
BEHIND = "_copy_to_iter"  # lib/iov_iter.c, once a read: eventfd_read() calls it behind schedule()
# From 7.2 this is there without an option of its own. Otherwise the scheduler asks the first CPU by
# an interrupt to wake the task itself (ttwu_queue_cond() in kernel/sched/core.c).
FEATURES = "/sys/kernel/debug/sched/features"
WAKES_ITSELF = f"[ ! -e {FEATURES} ] || echo NO_TTWU_QUEUE > {FEATURES}"


@dataclass(frozen=True)
class Exit:
    """What the first CPU does, as in tests/guest/preempted.c."""

    name: str


WATCHED = ("executed", "written")
OF_CPU = tuple(f"cpu_{watched}" for watched in WATCHED)
EXITS = tuple(map(Exit, ("kernel_fault", "user_fault", "system_call", *WATCHED, *OF_CPU)))


@session(
    claim="A task that gets the CPU on the way out of any exception keeps its breakpoints.",
    cases=EXITS,
    hardware=Hardware(cpus=2),
    area="break- and watchpoints",
)
def watch_preempted(target: Target, way: Exit) -> None:
    """Preempt what leaves the kernel, and count the hits of the task that runs then."""
    wake_beside(target, way.name)


def wake_beside(target: Target, where: str) -> None:
    """Wake the task while the other CPU does something, and count."""
    with target.in_kdb() as kdb:
        address = kdb.address(BEHIND)
    target.run(WAKES_ITSELF)
    found = target.run(f"preempted {where} {WAKES} {SECONDS} {address:#x}", 60).figures
    target.metrics.update(found)
    must_not_be_missed(found["wakes"] - found["missed"], found["wakes"], "reads")
    if where in {*WATCHED, *OF_CPU}:
        must_be_exact(found["hits"], found["passes"], "passes")
