# SPDX-License-Identifier: GPL-2.0-only
"""Do hardware breakpoints and watchpoints in the kernel count each hit exactly once?

Claim: clearing MDSCR_EL1.SS while an interrupt is handled "will break the implicit
handling of kernel {break,watch}points". Made by Will Deacon in the review of v5.

perf's default overflow handler has the kernel step over what was hit, with every
breakpoint (or every watchpoint) of EL1 switched off until the step is done
(arch/arm64/kernel/hw_breakpoint.c). An interrupt that is due comes before the step: without
patch 1/2 it ends the step too early, and what was to be stepped over is hit once more; with
the patch the step waits, and so do the breakpoints, throughout the interrupt's handler.

Measured: the hits of one perf event in a task and of another in interrupts, against how
often each place was reached: the task's system calls, and the interrupts of /proc/stat.

Refuted by a place counted more often than it was reached (`double-hits`) or less often
(`missed-hits`, also where both happen).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.outcome import KernelFault, Signature
from kstep.session import session

if TYPE_CHECKING:
    from kstep.target import Target

INTERRUPTS = 1000  # some hundreds of them come while a step is due


@dataclass(frozen=True)
class Pair:
    """What watches the task, and what watches the interrupts: x executes, w writes."""

    name: str
    task: str
    interrupt: str


PAIRS = (
    Pair("breakpoint_breakpoint", "x", "x"),
    Pair("breakpoint_watchpoint", "x", "w"),
    Pair("watchpoint_breakpoint", "w", "x"),
    Pair("watchpoint_watchpoint", "w", "w"),
)


@session(
    claim="A kernel break- or watchpoint counts each hit once, whatever interrupts do.",
    cases=PAIRS,
)
def watch_in_interrupt(target: Target, pair: Pair) -> None:
    """Count hits in a task and in interrupts, and hold them against what happened."""
    with target.in_kdb() as kdb:
        # kernel/time/time.c: entered once a call, and sys_tz written once a call
        task = {"x": kdb.address("__arm64_sys_settimeofday"), "w": kdb.address("sys_tz")}
        # kernel/irq/: entered once an interrupt, and kstat.irqs_sum written once
        interrupt = {
            "x": kdb.address("generic_handle_domain_irq"),
            "w": kdb.per_cpu_address("kstat"),
        }
    places = f"{pair.task}:{task[pair.task]:#x} {pair.interrupt}:{interrupt[pair.interrupt]:#x}"
    counted = target.run(f"hits {INTERRUPTS} {places}", 30).figures
    target.metrics.update(counted)
    # Positive: counted too often.
    excess = {
        "calls": counted["call_hits"] - counted["calls"],
        "interrupts": counted["interrupt_hits"] - counted["interrupts"],
    }
    if any(excess.values()):
        raise KernelFault(
            Signature.MISSED_HITS if min(excess.values()) < 0 else Signature.DOUBLE_HITS,
            ", ".join(f"{counted[what]} {what} with {n:+} hits" for what, n in excess.items()),
        )
