# SPDX-License-Identifier: GPL-2.0-only
"""Does a task that preempts another in a fault of the kernel's meet its breakpoints?

Claim: it does, and can be stepped there. Reported by Mark Rutland on 20 March 2026: with the
generic interrupt entry (99eb057ccd67) the kernel preempts on the way out of an exception that is
not an interrupt with debug exceptions masked. The task that is switched to goes on with PSTATE.D
set, behind schedule(), until it returns to user space: it passes break- and watchpoints, and a step
does not come back. 2371bd83b3df mended it in 2026.

Measured on two CPUs: a task has the kernel fault all the time, and a real-time task beside it is
woken from the other CPU, at any point of the faults. `counted`: perf's hits of a function that the
woken task passes before it returns to user space, against the wake-ups. `stepped`: kdb stops there
and steps.

Refuted by fewer hits than wake-ups (`missed-hits`; watch-in-interrupt judges more), and by a step
that never comes back (`runaway`) or leaves program order, as in step-in-order. 6.1 and 6.12 preempt
only on the way out of interrupts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.machine.hardware import Hardware
from kstep.session.checks import checks
from kstep.session.hits import must_not_be_missed
from kstep.session.session import BY_NIGHT, session

if TYPE_CHECKING:
    from kstep.session.checks import Check
    from kstep.session.target import Target

# fs/pipe.c: a read calls it for a buffer that is empty then, after it has slept
BEHIND = "anon_pipe_buf_release"
WAKES = 2000
STOPS, STEPS = 25, 3
SECONDS = 60.0


def counted(target: Target) -> None:
    """Count hits behind schedule()."""
    with target.in_kdb() as kdb:
        address = kdb.address(BEHIND)
    found = target.run(f"faults {WAKES} {address:#x}", SECONDS).figures
    target.metrics.update(found)
    must_not_be_missed(found["hits"], found["wakes"], "wake-ups")


def stepped(target: Target) -> None:
    """Step behind schedule()."""
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint(BEHIND)
    with target.running(f"faults {STOPS} 0", SECONDS):
        for number in range(STOPS):
            target.expect_breakpoint(stop_here)
            for step in target.steps(STEPS):
                step.must_follow_program_order()
            if number == STOPS - 1:
                target.kdb.clear(stop_here)
            target.go()
    target.must_tick()


@session(
    claim="A task that preempts another in a fault of the kernel's meets its breakpoints.",
    cases=checks(counted, stepped),
    hardware=Hardware(cpus=2),
    unsettled=BY_NIGHT,
    area="break- and watchpoints",
)
def watch_after_fault(target: Target, check: Check) -> None:
    """Wake a task while another faults in the kernel."""
    check.script(target)
