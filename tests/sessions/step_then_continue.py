# SPDX-License-Identifier: GPL-2.0-only
"""Is a kernel that was stepped as good as new after `go`?

Claim: neither patch leaves anything behind: after steps, `bc` and `go` the timer ticks,
nothing is complained of, and the next breakpoint works. What would be left behind is a
step bit in MDSCR_EL1 or SPSR_EL1, a masked interrupt, or a breakpoint not put back; the
series' reviewers feared each of them.

Measured: twenty rounds in one boot, each of twelve steps or some more,
`go` up to the function's return, where its caller's registers and interrupts must be as they
were, `go` on, the clock's tick, the same command again without a breakpoint, and a second
breakpoint.

Refuted by a step that nobody asked for (`step-flood`), a clock that stands (`wrong-result`),
a breakpoint that is not hit (`missed-hits`), or hit although it was cleared or left behind
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
# Steps, at the most, to get out of a lock's own code: that has read the preemption count, which
# kgdb raises by one from the first step to `go`, and would write it back one too high: the
# kernel then complains that it is `scheduling while atomic`.
LOCK = 40


@session(
    claim="After steps, `bc` and `go` the kernel runs as if it had never been stopped.",
    cases=FUNCTIONS,
    area="resuming (go)",
)
def step_then_continue(target: Target, function: Stepped) -> None:
    """Step, clear, go on, and look whether all is well; twenty times."""
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
