# SPDX-License-Identifier: GPL-2.0-only
"""Does stepping one CPU leave the others unharmed?

Claim: on a machine with several CPUs, under load, steps stay in order, and afterwards every CPU
still runs. Not raised in the review: the series was tested on one CPU or on idle ones. kgdb
stops the other CPUs while one is stepped (kernel/debug/debug_core.c); with patch 1/2 the
stepped one meanwhile runs whole interrupt handlers, which may wait for a lock that a stopped
CPU holds, and the scheduler's tick.

Measured: a thousand steps, on two CPUs and on four. `pinned`: the stepped task stays on the last
CPU and each of the others runs a busy loop. `free`: there is one busy loop more than CPUs;
after every hundred steps the task resumes on whichever CPU the scheduler picks (not between
steps: see step_long.py), and the next task is stepped on its own CPU; kdb accepts `go` only
there. In the end every CPU must run a task and wake it by its own timer, and the clocks must
agree with each other and with their earlier values; jiffies too, which the interrupts of the
steps count.

Refuted by a step that goes elsewhere, or waits for ever (`livelock`, `runaway`), a CPU that
does not answer (`hang`), clocks that disagree (`wrong-result`), or a CPU that misses a round-up
(`splat`: "Timed out waiting for secondary CPUs.").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

STEPS = 1000
ROUND = 100  # steps, after which the task may move
# By how much the figures of tests/guest/cpus.c may change: the monotonic clock's distance to the
# counter, in microseconds, by less than a tick; that of jiffies, in milliseconds, by a few
# hundredths of a second, the unit of times(2).
APART = {"offset_us": 100, "jiffies_ms": 50}


@dataclass(frozen=True)
class Crowd:
    """The number of CPUs, and whether the stepped task must stay on the last.

    Not on the first: a kernel that assumes CPU 0 would pass there.
    """

    name: str
    hardware: Hardware
    pinned: bool

    @property
    def load(self) -> list[str]:
        """Commands that keep CPUs busy: one for each other CPU, or one more than CPUs."""
        loop = "sh -c 'while :; do :; done'"
        if self.pinned:
            return [f"taskset {1 << cpu:x} {loop}" for cpu in range(self.hardware.cpus - 1)]
        return [loop] * (self.hardware.cpus + 1)

    @property
    def trigger(self) -> str:
        """Reaches meminfo_proc_show once: fs/proc/meminfo.c, a long path that takes locks."""
        pinned = f"taskset {1 << self.hardware.cpus - 1:x} " * self.pinned
        return f"{pinned}cat /proc/meminfo"


CROWDS = (
    Crowd("two_pinned", Hardware(cpus=2), pinned=True),
    Crowd("two_free", Hardware(cpus=2), pinned=False),
    Crowd("four_pinned", Hardware(cpus=4), pinned=True),
    Crowd("four_free", Hardware(cpus=4), pinned=False),
)


@session(
    claim="Stepping one of several busy CPUs harms neither it nor the others.",
    cases=CROWDS,
    area="steps",
)
def step_smp(target: Target, crowd: Crowd) -> None:
    """Step under load, then check every CPU."""
    before = target.run("cpus").figures
    target.run("pids=")
    for command in crowd.load:
        target.run(f'{command} & pids="$pids $!"')
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint("meminfo_proc_show")
    stepped = set()
    for _ in range(1 if crowd.pinned else STEPS // ROUND):
        with target.running(crowd.trigger):
            stepped.add(target.expect_breakpoint(stop_here).cpu)
            for step in target.steps_to_a_return(STEPS if crowd.pinned else ROUND):
                step.must_follow_program_order()
                step.must_make_progress()
            target.go()
    with target.in_kdb() as kdb:
        kdb.clear(stop_here)
    target.run("kill $pids; wait")
    target.metrics["cpus_stepped"] = len(stepped)
    after = target.run("cpus").figures
    for distance, most in APART.items():
        if abs(after[distance] - before[distance]) > most:
            raise KernelFault(
                Signature.WRONG_RESULT,
                f"{distance} of the clocks changed from {before[distance]} to {after[distance]}",
            )
