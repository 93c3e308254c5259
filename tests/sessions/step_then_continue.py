# SPDX-License-Identifier: GPL-2.0-only
"""Does a stepped kernel run normally after `go`?

Claim: neither patch leaves state behind: after steps, `bc` and `go` the timer ticks, there is
no splat, and the next breakpoint works. State left behind could be a step bit in MDSCR_EL1
or SPSR_EL1, a masked interrupt, or a breakpoint that is not installed again; the reviewers of
the series feared each of them.

Measured: twenty rounds in one boot. Each makes at least twelve steps, then `go` to the
function's return, where its caller's registers and interrupt masks must be unchanged, then
`go`, the clock's tick, the same command again without a breakpoint, and a second breakpoint.

Refuted by an unexpected step (`step-flood`), a clock that does not tick (`wrong-result`),
a breakpoint that is not hit (`missed-hits`), or hit although it was cleared or passed
(`rehit`, `double-hits`), a return with other registers (`wrong-registers`) or masks
(`masked-interrupts`) than at the call, a `hang`, a `splat`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.session.functions import FUNCTIONS
from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.session.target import Target

SECOND = FUNCTIONS[0]
STEPS = 12  # every function here is longer
# At most so many steps to leave a lock's code. It has read the preemption count, which kgdb
# raises by one from the first step until `go`, and would write it back one too high: the kernel
# would print "scheduling while atomic".
LOCK = 40


@session(
    claim="After steps, `bc` and `go` the kernel runs as if it had never been stopped.",
    cases=FUNCTIONS,
    area="resuming (go)",
)
def step_then_continue(target: Target, function: Stepped) -> None:
    """Step, clear, go on, and check the kernel; twenty times."""
    for _ in range(20):
        with target.stopped_at(function.name, function.trigger) as first:
            call = target.call()
            for step in target.steps(STEPS + LOCK):
                step.must_follow_program_order()
                if step.number >= STEPS and not step.after.symbol.startswith("_raw_"):
                    break
            first.clear()
            back = target.kdb.breakpoint(call.returns_to)
            target.go()
            target.expect_breakpoint(back)
            call.must_have_restored()
            target.kdb.clear(back)
        target.must_tick()
        target.run(function.trigger)
        with target.stopped_at(SECOND.name, SECOND.trigger):
            pass
