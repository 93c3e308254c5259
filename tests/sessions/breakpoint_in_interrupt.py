# SPDX-License-Identifier: GPL-2.0-only
"""Does a step survive a breakpoint in the interrupt that comes during it?

Claim: a breakpoint inside an interrupt handler ends the step early; Daniel Thompson, in the
review of the series. Patch 1/2 puts MDSCR_EL1 aside while the handler runs and puts it
back afterwards as it was. Where the handler hits a breakpoint meanwhile, and the debugger
is told to `go`, kgdb switches stepping off; what 1/2 then puts back switches it on again,
for nobody: each instruction from there on raises a step exception that no one asked for.

Measured: `ss`, from a place without a breakpoint, with a breakpoint in the tick and the
tick due; `bc`, `go`; then whether the clock ticks and the guest answers. Once with the
first step after a breakpoint, once with a later one: only where patch 2/2 is in does a
later step have SPSR.SS set, by which 1/2 knows it. Step exceptions that the kernel
complains of are counted for two seconds.

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

TICK = "update_process_times"  # kernel/time/timer.c: the timer interrupt's, and no one else's


@dataclass(frozen=True)
class Under:
    """The step that is under way: how many were made since the breakpoint."""

    name: str
    before: int


@session(
    claim="A breakpoint in an interrupt that comes during a step leaves no step behind.",
    cases=(Under("first_step", 0), Under("later_step", 3)),
    area="break- and watchpoints",
)
def breakpoint_in_interrupt(target: Target, under: Under) -> None:
    """Step, hit a breakpoint in the tick on the way, clear it, go on."""
    with target.stopped_at("vfs_mkdir", "mkdir /tmp/new && rmdir /tmp/new") as stop:
        stop.clear()
        for _ in range(under.before):
            target.step_unjudged()  # where to is what step-in-order asks
        in_tick = target.kdb.breakpoint(TICK)
        target.wait_for_pending_tick()
        ended = target.step_unjudged()
        if ended.reason != BREAKPOINT_HIT:  # the step has ended elsewhere, and the tick is to come
            target.go()
            target.expect_breakpoint(in_tick)
        target.kdb.clear(in_tick)
    target.must_tick()
    target.run("echo still here")
