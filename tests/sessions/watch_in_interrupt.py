# SPDX-License-Identifier: GPL-2.0-only
"""Do hardware breakpoints and watchpoints in the kernel count each hit exactly once?

Claim: clearing MDSCR_EL1.SS while an interrupt is handled "will break the implicit
handling of kernel {break,watch}points". Made by Will Deacon in the review of v5.

With perf's default overflow handler the kernel steps over what was hit, with every breakpoint
(or every watchpoint) of EL1 disabled until the step is done (arch/arm64/kernel/hw_breakpoint.c).
A pending interrupt comes before the step: without patch 1/2 it ends the step too early, and
the same instruction hits once more; with the patch the step is suspended, and the breakpoints
stay disabled, throughout the interrupt's handler.

Measured: the hits of one perf event in a task and of another in interrupts, against how
often each address was reached: the task's system calls, and the interrupts of /proc/stat. A
case judges one of the two, to show a fault that a patch moves from one to the other.
Interrupts come ten times as often as the tick, so one may be pending when another has been
handled, before the step: then a watchpoint that the first has hit is still off. The case
`bp_with_wp_in_tick` has no such interrupts: a tick finds the watchpoint on, unless it was
disabled for a suspended step. To make that half of the ticks, the task steps over four
breakpoints in a row.

Refuted by an address counted more often than it was reached (`double-hits`), or less often
(`missed-hits`): by one hit, or at the tick by a fifth, because on a host that stalls ticks
follow each other directly, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

INTERRUPTS = 1000  # a few hundred of them come during a step
# Of 1000 interrupts 2 to 12 miss a watchpoint with 1/2 on an idle host: 2 cells of 60 had none.
# With six times as many, less than one cell in 100,000 has none.
MANY = 6 * INTERRUPTS
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class Pair:
    """What watches the task and the interrupts, x executed, w written, and which is judged.

    ``period`` is that of the interrupts beside the tick, in microseconds, 0 for none;
    ``share`` is the part of the hits that must be counted, of ``interrupts`` interrupts. If it
    is ``dense``, the task has four breakpoints.
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
    claim="A kernel breakpoint or watchpoint counts each hit once, whatever interrupts do.",
    cases=PAIRS,
    area="break- and watchpoints",
)
def watch_in_interrupt(target: Target, pair: Pair) -> None:
    """Count hits in a task and in interrupts, and compare them with what happened."""
    with target.in_kdb() as kdb:
        # kernel/time/time.c: entered once a call, and sys_tz written once a call
        task = {"x": kdb.address("__arm64_sys_settimeofday"), "w": kdb.address("sys_tz")}
        # kernel/irq/: entered once per interrupt (by that name since 5.14), and
        # kstat.irqs_sum written once
        entered = target.known("generic_handle_domain_irq", "__handle_domain_irq")
        irq = {"x": kdb.address(entered), "w": kdb.per_cpu_address("kstat")}
    events = [f"{pair.irq}:{irq[pair.irq]:#x}", f"{pair.task}:{task[pair.task]:#x}"]
    if pair.dense:
        events += [f"x:{task['x'] + 4 * n:#x}" for n in range(1, 4)]
    counted = target.run(f"hits {pair.interrupts} {pair.period} {' '.join(events)}", 120).figures
    target.metrics.update(counted)
    if counted["unsettled"]:
        raise MachineryError("this host is too slow to count interrupts between two of them")
    reached, hits = counted[f"{pair.judged}s"], counted[f"{pair.judged}_hits"]
    target.metrics.update(hits=hits, due=reached)
    must_be_exact(hits, reached, f"{pair.judged}s", pair.share)
