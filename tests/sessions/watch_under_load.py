# SPDX-License-Identifier: GPL-2.0-only
"""Does a kernel breakpoint count each hit once while the scheduler moves tasks about?

Claim: an interrupt that comes while a step is owed must not reschedule, for the step belongs
to the processor as much as to the task: MDSCR_EL1, the breakpoints that are switched off and
the note that they are (stepping_kernel_bp in arch/arm64/kernel/hw_breakpoint.c) are the
processor's own. Patch 1/2 has a test for that, which Will Deacon found to be the wrong way
round in v5: there an interrupt reschedules only while a step is owed. kgdb cannot show what
that does, for it holds a spinlock while it steps; perf's steps over its own breakpoints can.

Measured: the hits of a breakpoint on a system call that more tasks make than there are
processors, some of them SCHED_FIFO and woken by the timer every millisecond, against the
calls that they made; on one processor, on two and on four. What the kernel complains of
meanwhile is kept from the console until the hits are counted, for how soon a step exception
that nobody expects comes is chance, and that hits are missed is not.

Refuted by more hits than calls (`double-hits`) or fewer (`missed-hits`), by unexpected step
exceptions (`step-flood`), by a processor that does not answer afterwards (`hang`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.machine.hardware import Hardware
from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

WHILE = 1000  # milliseconds: thousands of interrupts, of which some per cent find a step owed


@dataclass(frozen=True)
class Processors:
    """So many of them."""

    name: str
    hardware: Hardware


@session(
    claim="A kernel breakpoint counts each hit once, however tasks are scheduled.",
    cases=(
        Processors("one", Hardware(cpus=1)),
        Processors("two", Hardware(cpus=2)),
        Processors("four", Hardware(cpus=4)),
    ),
    area="break- and watchpoints",
)
def watch_under_load(target: Target, _processors: Processors) -> None:
    """Count the hits of a system call that many tasks make."""
    with target.in_kdb() as kdb:
        function = kdb.address("__arm64_sys_settimeofday")
    counted = target.run(
        f"dmesg -n 1; dmesg -c > /dev/null; herd {WHILE} {function:#x}", 30
    ).figures
    target.metrics.update(counted)
    must_be_exact(counted["hits"], counted["calls"], "calls")
    target.run("dmesg; dmesg -n 7; cpus")
