# SPDX-License-Identifier: GPL-2.0-only
"""Does a step get past a WARN_ON()?

Claim: it does. Not raised in the review; a path that a developer steps is likely to hold one.
On arm64 it is a BRK, an exception that the stepped instruction itself raises, with SPSR.SS
set as in an interrupt during a step.

By the architecture: the BRK is taken with D masked, and el1_dbg() never unmasks it, so the
report is printed without a step. After report_bug() the kernel advances the PC by one
instruction (arm64_skip_faulting_instruction() in arch/arm64/kernel/traps.c) and returns.
SPSR.SS is still set, so one instruction runs after the ERET, and the step ends after that
one. For user space the same function clears the bit first, and the step ends right after the
BRK. Either is accepted: the instruction that is not shown still runs in order. The metrics
say which of the two it was.

Measured: steps to LKDTM's WARN_ON(), over it, and further; the warning must be printed once.

Refuted by a step that ends elsewhere (`stuck`, `enters-interrupt`, `off-order`,
`runaway`), by a warning that is lost or printed twice (`wrong-result`), by any other splat.
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
    claim="A step of a WARN_ON() ends after it, and the warning is printed once.",
    needs=("CONFIG_LKDTM", "CONFIG_DEBUG_BUGVERBOSE"),
    area="steps",
)
def step_over_warning(target: Target) -> None:
    """Step up to a WARN_ON(), over it, and further."""
    with (
        target.provoking("drivers/misc/lkdtm/bugs.c:"),
        target.stopped_at("lkdtm_WARNING", TRIGGER),
    ):
        brk = target.find("lkdtm_WARNING", is_brk)
        target.step_to(brk)
        target.step_over_brk(brk)
        for step in target.steps_to_a_return(AFTERWARDS):
            step.must_follow_program_order()
    target.must_tick()
