# SPDX-License-Identifier: GPL-2.0-only
"""Does a step survive a breakpoint in the interrupt that comes during it?

Claim: a breakpoint inside an interrupt handler ends the step early. Made by Daniel Thompson in
the review of the series. Patch 1/2 saves MDSCR_EL1 before the handler and restores it after.
If the handler hits a breakpoint and the user types `go`, kgdb switches stepping off, but 1/2
then restores the old value and switches it on again: every instruction from there on raises
an unexpected step exception.

Measured: `ss`, from an address without a breakpoint, with a breakpoint in the tick and the
tick pending; `bc`, `go`; then whether the clock ticks and the guest answers. Once with the
first step after a breakpoint, once with a later one: 1/2 knows a step by SPSR.SS, which a
later step has set only with patch 2/2. Unexpected step exceptions in the kernel's log are
counted for two seconds.

Refuted by a breakpoint in the tick that is not hit (`missed-hits`), by unexpected step
exceptions (`step-flood`), by a guest that does not answer (`hang`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.console.kdb import BREAKPOINT_HIT
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

TICK = "update_process_times"  # kernel/time/timer.c: only the timer interrupt calls it


@dataclass(frozen=True)
class InterruptedStep:
    """The step that the interrupt comes in: how many steps were made before it."""

    name: str
    before: int


@session(
    claim="A breakpoint in an interrupt that comes during a step leaves stepping off.",
    cases=(InterruptedStep("first_step", 0), InterruptedStep("later_step", 3)),
    area="break- and watchpoints",
)
def breakpoint_in_interrupt(target: Target, interrupted: InterruptedStep) -> None:
    """Step, hit a breakpoint in the tick on the way, clear it, go on."""
    with target.stopped_at("vfs_mkdir", "mkdir /tmp/new && rmdir /tmp/new") as stop:
        stop.clear()
        for _ in range(interrupted.before):
            target.step_unjudged()  # step-in-order judges where it goes
        in_tick = target.kdb.breakpoint(TICK)
        target.wait_for_pending_tick()
        ended = target.step_unjudged()
        if ended.reason != BREAKPOINT_HIT:  # the step has ended before the tick
            target.go()
            target.expect_breakpoint(in_tick)
        target.kdb.clear(in_tick)
    target.must_tick()
    target.run("echo still here")
