# SPDX-License-Identifier: GPL-2.0-only
"""Are break- and watchpoints, and steps, right while CPUs go and come back?

Claim: a CPU that comes back has its debug state: its OS lock is cleared (clear_os_lock() in
arch/arm64/kernel/debug-monitors.c), its break- and watchpoint registers are reset
(hw_breakpoint_reset()), and kgdb's steps on it go in order. Not raised in the review, but the
patches save and restore MDSCR_EL1, which a CPU loses when it is turned off.

Measured on two CPUs, of which the second is turned off and on (/sys/devices/system/cpu).
`counted`: twenty times, with a program that has break- and watchpoints and moves between the CPUs,
and with the kernel's break- and watchpoints on the CPU that came back and on the other: the hits
of each, against the passes.
`stopped`: a breakpoint of kdb that was set before is hit on the CPU that came back, and steps from
there follow program order; three times.
`stepped`: steps from the CPU's own functions on its way out and back in (sched_cpu_deactivate(),
sched_cpu_activate()), in program order; three times.

Refuted by hits that were missed or counted twice (`missed-hits`, `double-hits`), a step that
leaves program order, as in step-in-order, or a CPU that does not come back (`wrong-result`,
`hang`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.hits import must_be_exact, must_not_be_missed
from kstep.session.session import BY_NIGHT, session

if TYPE_CHECKING:
    from kstep.session.target import Target

ROUNDS, LAPS, STEPS = 3, 20, 60
ONLINE = "/sys/devices/system/cpu/cpu1/online"
OFF, ON = f"echo 0 > {ONLINE}", f"echo 1 > {ONLINE}"
REACHED = "__arm64_sys_getitimer"  # kernel/time/itimer.c: nobody else calls it
TRIGGER = "taskset 2 syscall getitimer 1 0 @"
# kernel/sched/core.c: the second CPU's own thread calls each once, with interrupts on
LEAVES, COMES = "sched_cpu_deactivate", "sched_cpu_activate"


@dataclass(frozen=True)
class Away:
    """What is looked at while a CPU goes and comes back."""

    name: str


@session(
    claim="A CPU that was turned off has its debug state when it comes back.",
    cases=tuple(map(Away, ("counted", "stopped", "stepped"))),
    hardware=Hardware(cpus=2),
    needs=("CONFIG_HOTPLUG_CPU",),
    unsettled=BY_NIGHT,
    area="break- and watchpoints",
)
def cpu_hotplug(target: Target, away: Away) -> None:
    """Turn a CPU off and on."""
    if away.name == "counted":
        count(target)
    elif away.name == "stopped":
        stop_behind(target)
    else:
        step_through(target)
    target.run("cpus")
    target.must_tick()


def count(target: Target) -> None:
    """Count hits before, meanwhile and afterwards."""
    with target.in_kdb() as kdb:
        code, data = kdb.address("__arm64_sys_settimeofday"), kdb.address("sys_tz")
    found = target.run(f"offline {LAPS} {code:#x} {data:#x}", 60).figures
    target.metrics.update(found)
    must_be_exact(found["executed"], found["passes"], "passes of a program's instruction")
    must_be_exact(found["written"], found["passes"], "passes of a program's store")
    # watch-in-interrupt judges if there are more.
    must_not_be_missed(found["code"], found["calls"], "calls on the CPU that comes and goes")
    must_not_be_missed(found["data"], found["stores"], "stores on the CPU that came back")
    must_not_be_missed(found["steady"], found["steady_calls"], "calls on the other CPU")


def stop_behind(target: Target) -> None:
    """Stop and step on the CPU that came back."""
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint(REACHED)
    for _ in range(ROUNDS):
        target.run(OFF)
        target.run(ON)
        with target.running(TRIGGER):
            stop = target.expect_breakpoint(stop_here)
            if stop.cpu != 1:
                raise KernelFault(Signature.WRONG_RESULT, f"the stop is on CPU {stop.cpu}, not 1")
            for step in target.steps_to_a_return(STEPS):
                step.must_follow_program_order()
            target.go()
    with target.in_kdb() as kdb:
        kdb.clear(stop_here)


def step_through(target: Target) -> None:
    """Step the CPU itself on its way out, and back in."""
    for _ in range(ROUNDS):
        for function, command in ((LEAVES, OFF), (COMES, ON)):
            with target.stopped_at(function, command):
                for step in target.steps_to_a_return(STEPS):
                    step.must_follow_program_order()
