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
often each place was reached: the task's system calls, and the interrupts of /proc/stat. A
case judges one of the two, so that a fault which a patch moves from one to the other shows.
Interrupts come ten times as often as the tick, so that one may be due when another has been
handled, before the step: then a watchpoint that the first has hit is still off. The case
`bp_with_wp_in_tick` does without: a tick finds the watchpoint on, unless a handler is deaf to
it because a step is owed. So that this would be half of the ticks, the task steps over four
breakpoints, one behind the other.

Refuted by a place counted more often than it was reached (`double-hits`), or less often
(`missed-hits`): by one hit, or at the tick by every fifth, for on a machine that stalls ticks
follow upon each other, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

INTERRUPTS = 1000  # some hundreds of them come while a step is due
# Of 1000 interrupts 2 to 12 miss a watchpoint with 1/2 on an idle machine: 2 cells of 60 had none.
# Six times as many leave less than one cell in 100,000 without.
MANY = 6 * INTERRUPTS
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class Pair:
    """What watches the task and the interrupts, x executed, w written, and who is judged.

    ``period`` is that of the interrupts beside the tick, in microseconds, 0 for none; of the
    hits a ``share`` must be counted, over so many ``interrupts``. A ``dense`` one has four
    breakpoints in the task.
    """

    name: str
    task: str
    irq: str
    judged: str
    dense: bool = False
    interrupts: int = INTERRUPTS
    period: int = OFTEN
    share: float = 1.0


PAIRS = (
    Pair("bp_with_bp_in_task", "x", "x", "call"),
    Pair("bp_with_bp_in_irq", "x", "x", "interrupt"),
    Pair("bp_with_wp_in_task", "x", "w", "call"),
    Pair("bp_with_wp_in_irq", "x", "w", "interrupt", interrupts=MANY),
    Pair("wp_with_wp_in_task", "w", "w", "call"),
    Pair("wp_with_wp_in_irq", "w", "w", "interrupt", interrupts=MANY),
    Pair("bp_with_wp_in_tick", "x", "w", "interrupt", dense=True, period=0, share=0.8),
)


@session(
    claim="A kernel break- or watchpoint counts each hit once, whatever interrupts do.",
    cases=PAIRS,
    area="break- and watchpoints",
)
def watch_in_interrupt(target: Target, pair: Pair) -> None:
    """Count hits in a task and in interrupts, and hold them against what happened."""
    with target.in_kdb() as kdb:
        # kernel/time/time.c: entered once a call, and sys_tz written once a call
        task = {"x": kdb.address("__arm64_sys_settimeofday"), "w": kdb.address("sys_tz")}
        # kernel/irq/: entered once an interrupt (by that name from 5.14 on), and
        # kstat.irqs_sum written once
        entered = target.known("generic_handle_domain_irq", "__handle_domain_irq")
        irq = {"x": kdb.address(entered), "w": kdb.per_cpu_address("kstat")}
    places = [f"{pair.irq}:{irq[pair.irq]:#x}", f"{pair.task}:{task[pair.task]:#x}"]
    if pair.dense:
        places += [f"x:{task['x'] + 4 * n:#x}" for n in range(1, 4)]
    counted = target.run(f"hits {pair.interrupts} {pair.period} {' '.join(places)}", 120).figures
    target.metrics.update(counted)
    if counted["unsettled"]:
        raise MachineryError("this machine is too slow to count interrupts between two of them")
    reached, hits = counted[f"{pair.judged}s"], counted[f"{pair.judged}_hits"]
    target.metrics.update(hits=hits, due=reached)
    must_be_exact(hits, reached, f"{pair.judged}s", pair.share)
