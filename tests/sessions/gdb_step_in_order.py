# SPDX-License-Identifier: GPL-2.0-only
"""Does gdb's `stepi` over the serial line go to the next instruction, as kdb's `ss` does?

Claim: with the two patches it does, because `stepi` and `ss` are both kgdb's `s`; without
them a step ends in the interrupt handler. Made by the cover letter of "arm64: Fix pending
single-step debugging issues" (v5, 19 December 2022); most of its users step with gdb.

Measured: 25 gdb steps from a breakpoint, and those to the next return, each against what the
instruction at the old PC allows; then the same path with kdb's `ss`, with a second trigger. The
functions chosen take the same path each time, for the first 25 steps.

Refuted by one step that goes elsewhere (`stuck`, `enters-interrupt`, `enters-exception`,
`off-order`, `runaway`), or if the two debuggers see different paths (`wrong-result`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.capability import Capability
from kstep.session.functions import CALLS_THROUGH_POINTER, TAKES_SPINLOCK
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.session import Stepped
    from kstep.session.target import Target

STEPS = 25  # gdb makes about fifty a second on an idle machine


@session(
    claim="A gdb step goes to the next instruction, the same as a kdb step.",
    cases=(CALLS_THROUGH_POINTER, TAKES_SPINLOCK),
    requires={
        Capability.MEMORY_WITHOUT_KDB: "it reads each instruction while gdb has the line",
    },
    area="steps",
)
def gdb_step_in_order(target: Target, function: Stepped) -> None:
    """Step a function's path with gdb, and again with kdb."""
    target.run(function.trigger)  # fills the caches, so that both take the same path
    with target.in_kdb(then=function.trigger), target.in_gdb() as gdb:
        stop_here = gdb.breakpoint(function.name)
        gdb.resume()
        target.expect_breakpoint_in_gdb(gdb, stop_here)
        by_gdb = []
        for step in target.steps_to_a_return(STEPS, gdb):
            step.must_follow_program_order()
            by_gdb.append(step.after)
        target.metrics["gdb_steps_per_second"] = target.metrics["steps_per_second"]
        gdb.clear(stop_here)
    with target.stopped_at(function.name, function.trigger, at_once=True):
        for step in target.steps_to_a_return(STEPS):
            step.must_follow_program_order()
            if step.number <= STEPS and step.after != by_gdb[step.number - 1]:
                raise KernelFault(
                    Signature.WRONG_RESULT,
                    f"step {step.number} from {step.before} goes to {step.after} by kdb and"
                    f" to {by_gdb[step.number - 1]} by gdb",
                )
