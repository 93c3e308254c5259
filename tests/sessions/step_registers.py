# SPDX-License-Identifier: GPL-2.0-only
"""Does an interrupt during a step change registers or memory of the stepped code?

Claim: it does not: patch 1/2 suspends the step, the handler saves and restores what it uses,
and the stepped instruction finds its registers unchanged. Not raised in the review; every user
of a debugger relies on it. kdb takes longer to show the registers than the timer takes to fire,
so an interrupt is pending at every step.

Measured: 150 steps from a breakpoint, and those to the next return. After each, x0 to x30, sp
and pstate must be what unicorn computes for the instruction from the registers before it: what
it does not write is unchanged, and what it writes is right. In pstate, SS is ignored, because
the debugger writes it, and BTYPE, because every instruction does; DAIF, PAN, UAO, SSBS and the
flags change only by MSR and arithmetic, because an exception saves them all and its return
restores them. A load is judged if it reads the stack of the stepped code, above its stack
pointer; reads of system registers are not. A store to RAM must be found there (by QEMU's
monitor), byte by byte.

Refuted by one wrong register (`wrong-registers`), a store that is missing in memory
(`wrong-memory`), or a step that goes elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.session.functions import FUNCTIONS
from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.session.target import Target


@session(
    claim="A step changes what its instruction writes, and nothing else.",
    cases=FUNCTIONS,
    area="steps",
)
def step_registers(target: Target, function: Stepped) -> None:
    """Step a function's path and check the registers after every instruction."""
    with target.stopped_at(function.name, function.trigger):
        watch = target.watch_registers()
        for step in target.steps_to_a_return(150):
            step.must_follow_program_order()
            watch.must_match_emulator(step)
        target.metrics |= watch.metrics
