# SPDX-License-Identifier: GPL-2.0-only
"""Does a kernel breakpoint count each hit once while the scheduler moves tasks?

Claim: an interrupt during a step must not reschedule, because the step belongs to the CPU as
much as to the task: MDSCR_EL1, the disabled breakpoints and the record of them
(stepping_kernel_bp in arch/arm64/kernel/hw_breakpoint.c) are per CPU. Patch 1/2 has a test for
that, which Will Deacon found to be inverted in v5: there an interrupt reschedules only during
a step. kgdb cannot show the effect, because it holds a spinlock while it steps; perf's steps
over its own breakpoints can.

Measured: the hits of a breakpoint on a system call that more tasks make than there are CPUs,
some of them SCHED_FIFO and woken by the timer every millisecond, against the calls that they
made; on one CPU, on two and on four. In `debugged` there are two, and kdb stops both, again and
again, from a task on the first, which it steps: the other may owe a step of perf's then. Splats are
kept from the console until the hits are counted, because the time of the first unexpected step
exception is chance, and missed hits are not.

Refuted by more hits than calls (`double-hits`) or fewer (`missed-hits`), by unexpected step
exceptions (`step-flood`), by a CPU that does not answer afterwards (`hang`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.machine.hardware import Hardware
from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.session.target import Target

WHILE = 1000  # milliseconds: thousands of interrupts, a few per cent of them during a step
STOPS = 20
STOPPED = "__arm64_sys_getitimer"  # kernel/time/itimer.c: nobody else calls it
AT_MOST = 600_000  # milliseconds for these: the guest's clock goes on while it is stopped


@dataclass(frozen=True)
class Cpus:
    """A number of CPUs."""

    name: str
    hardware: Hardware
    debugged: bool = False


@session(
    claim="A kernel breakpoint counts each hit once, however tasks are scheduled.",
    cases=(
        Cpus("one", Hardware(cpus=1)),
        Cpus("two", Hardware(cpus=2)),
        Cpus("four", Hardware(cpus=4)),
        Cpus("debugged", Hardware(cpus=2), debugged=True),
    ),
    area="break- and watchpoints",
)
def watch_under_load(target: Target, cpus: Cpus) -> None:
    """Count the hits of a system call that many tasks make."""
    with target.in_kdb() as kdb:
        function = kdb.address("__arm64_sys_settimeofday")
    target.run("dmesg -n 1; dmesg -c > /dev/null")
    if cpus.debugged:
        counted = stop_beside(target, f"herd {AT_MOST} {function:#x} {STOPS}")
    else:
        counted = target.run(f"herd {WHILE} {function:#x}", 30).figures
    target.metrics.update(counted)
    must_be_exact(counted["hits"], counted["calls"], "calls")
    target.run("dmesg; dmesg -n 7; cpus")


def stop_beside(target: Target, command: str) -> Mapping[str, int]:
    """Stop all CPUs from a task on the first, again and again; where it steps is not judged."""
    with target.stopped_at(STOPPED, command, 60) as stop:
        for _ in stop.times(STOPS):
            target.step_unjudged()
    return stop.answer.figures
