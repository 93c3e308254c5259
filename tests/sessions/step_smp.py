# SPDX-License-Identifier: GPL-2.0-only
"""Does stepping one processor leave the others as they were?

Claim: on a machine with several processors, under load, stepping goes on in order, and
afterwards all of them are there. Made by nobody: the series was tried on one processor or
on idle ones. kgdb parks the other processors while one is stepped (kernel/debug/debug_core.c);
with patch 1/2 the stepped one goes through whole interrupt handlers meanwhile, which may
wait for what a parked one holds, and through the scheduler's tick.

Measured: a thousand steps, on two processors and on four. `pinned`: the stepped task stays on
the last processor and each of the others runs a busy loop. `free`: there is a busy loop more
than processors, and after every hundred steps the task goes on wherever the scheduler has it
(not amid them: see step_long.py), and the next one is stepped where that is; kdb takes `go`
only there. In the end every processor must run a task and wake it by its own timer, and the
clocks must agree with each other and with what they said before; jiffies too, which the
interrupts of the steps count.

Refuted by a step that goes elsewhere, or waits for ever (`livelock`, `runaway`), a processor
that does not answer (`hang`), clocks that disagree (`wrong-result`), or a processor that
misses a round-up (`splat`: "Timed out waiting for secondary CPUs.").
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
ROUND = 100  # of them, where the task may move after them
# By how much what tests/guest/cpus.c says may change: the monotonic clock's distance to the
# counter, in microseconds, by no tick; that of jiffies, in milliseconds, by some of the
# hundredths of a second in which times(2) tells them.
APART = {"offset_us": 100, "jiffies_ms": 50}


@dataclass(frozen=True)
class Crowd:
    """So many processors, and whether the stepped task must stay on the last.

    Not on the first: a kernel that takes its number for granted is right there.
    """

    name: str
    hardware: Hardware
    pinned: bool

    @property
    def load(self) -> list[str]:
        """Commands that keep processors busy: the others, or all of them and one more."""
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
    claim="Stepping one of several busy processors harms neither it nor the others.",
    cases=CROWDS,
    area="steps",
)
def step_smp(target: Target, crowd: Crowd) -> None:
    """Step under load, then ask every processor."""
    before = target.run("cpus").figures
    target.run("pids=")
    for command in crowd.load:
        target.run(f'{command} & pids="$pids $!"')
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint("meminfo_proc_show")
    places = set()
    for _ in range(1 if crowd.pinned else STEPS // ROUND):
        with target.running(crowd.trigger):
            places.add(target.expect_breakpoint(stop_here).cpu)
            for step in target.steps_to_a_return(STEPS if crowd.pinned else ROUND):
                step.must_follow_program_order()
                step.must_make_progress()
            target.go()
    with target.in_kdb() as kdb:
        kdb.clear(stop_here)
    target.run("kill $pids; wait")
    target.metrics["cpus_stepped"] = len(places)
    after = target.run("cpus").figures
    for distance, most in APART.items():
        if abs(after[distance] - before[distance]) > most:
            raise KernelFault(
                Signature.WRONG_RESULT,
                f"{distance} of the clocks was {before[distance]} and is {after[distance]}",
            )
