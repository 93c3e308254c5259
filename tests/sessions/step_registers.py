# SPDX-License-Identifier: GPL-2.0-only
"""Does an interrupt that is taken during a step leave a trace in the registers?

Claim: none does: patch 1/2 puts the step aside, the handler saves and restores what it uses,
and the one instruction that is stepped finds the registers as they were. Nobody made it aloud;
every user of a debugger relies on it. kdb takes longer to show the registers than the timer
takes to fire, so an interrupt is due at every step.

Measured: 150 steps from a breakpoint, and those to a return. After each, x0 to x30, sp and
pstate must be what the instruction makes of those before it, as unicorn computes it: what it
does not write is as before, and what it writes is right. Of pstate SS is left out, for the
debugger writes it, and BTYPE, for every instruction does; DAIF, PAN, UAO, SSBS and the flags
change by MSR and by arithmetic alone, for an exception saves them all and its return restores
them. What is loaded is judged where it comes from the stack of the stepped code, above its
stack pointer; that of system registers is not. What is stored to RAM must be found there (by
QEMU's monitor), byte by byte.

Refuted by one register that is another (`wrong-registers`), a store that is not where it must
be (`wrong-memory`), or a step that goes elsewhere.
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
    """Step a function's path and hold the registers against every instruction."""
    with target.stopped_at(function.name, function.trigger):
        watch = target.watch_registers()
        for step in target.steps_to_a_return(150):
            step.must_follow_program_order()
            watch.must_match_emulator(step)
        target.metrics |= watch.metrics
