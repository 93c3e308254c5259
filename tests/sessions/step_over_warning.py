# SPDX-License-Identifier: GPL-2.0-only
"""Does a step get over a WARN_ON()?

Claim: none was made in the review; a path that a developer steps is likely to hold one. On
arm64 it is a BRK, an exception that the stepped instruction itself raises, with SPSR.SS
set as an interrupt during a step has it.

What the architecture makes of it: the BRK is taken with D masked, and el1_dbg() never
unmasks it, so the report is printed without a step; report_bug() done, the kernel moves the
PC on by one instruction (arm64_skip_faulting_instruction() in arch/arm64/kernel/traps.c)
and returns. SPSR.SS is still set, so the ERET lets one instruction run, and the step ends
behind that one. For user space the same function clears the bit first, and the step ends
right behind the BRK. Either is accepted here: the instruction that is not shown is run, in
its order. Which of the two it was is in the metrics.

Measured: steps to a WARN_ON() that LKDTM keeps for such ends, over it, and on; the warning
must be printed once.

Refuted by a step that ends elsewhere (`stuck`, `enters-interrupt`, `off-order`,
`runaway`), by a warning that is lost or comes twice (`wrong-result`), by any other complaint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.arm64.branch import is_brk
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

TRIGGER = "echo WARNING > /sys/kernel/debug/provoke-crash/DIRECT"
AFTERWARDS = 12


@session(
    claim="A step of a WARN_ON() ends behind it, and the warning is printed once.",
    needs=("CONFIG_LKDTM", "CONFIG_DEBUG_BUGVERBOSE"),
    area="steps",
)
def step_over_warning(target: Target) -> None:
    """Step up to a WARN_ON(), over it, and on."""
    with (
        target.provoking("drivers/misc/lkdtm/bugs.c:"),
        target.stopped_at("lkdtm_WARNING", TRIGGER),
    ):
        brk = target.find("lkdtm_WARNING", is_brk)
        target.step_to(brk, 50)
        target.step_over_brk(brk)
        for step in target.steps_to_a_return(AFTERWARDS):
            step.must_follow_program_order()
    target.must_tick()
