# SPDX-License-Identifier: GPL-2.0-only
"""Does a step get past a hardware breakpoint or watchpoint of perf, and is it counted once?

Claim: clearing MDSCR_EL1.SS "will break the implicit handling of kernel {break,watch}points".
Made by Will Deacon in the review of v5, and shown by `watch-in-interrupt` without a debugger.
Here both step: perf wants to step over what was hit, but a debugger steps already, so perf must
leave the step to it and arm again afterwards (ARM_KERNEL_STEP_SUSPEND in
arch/arm64/kernel/hw_breakpoint.c).

Measured: steps from a breakpoint through a system call, over an instruction with a perf
breakpoint on it or a store that hits a perf watchpoint, each against program order. Then how
often perf counted it: also in calls behind `go`, for which the event stays in. And that perf still
counts each call without a debugger.

Refuted by a step that goes elsewhere or does not come back (`runaway`), by a hit that is
counted twice or not at all (`double-hits`, `missed-hits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.session.hits import must_be_exact
from kstep.session.session import session
from kstep.session.stepping import LONG_PATH

if TYPE_CHECKING:
    from kstep.session.target import Target

FUNCTION = "__arm64_sys_settimeofday"  # kernel/time/time.c: stores its argument in sys_tz
CALL, CALLS, MANY = "syscall settimeofday {} 0 @", 4, 5000


@dataclass(frozen=True)
class Watched:
    """What perf watches: an instruction that is executed (x) or the store to a variable (w)."""

    name: str
    kind: str


@session(
    claim="A step gets past a breakpoint or watchpoint of perf, and perf counts one hit.",
    cases=(Watched("executed", "x"), Watched("written", "w")),
    area="break- and watchpoints",
)
def step_over_watchpoint(target: Target, watched: Watched) -> None:
    """Step a system call while perf watches an address on its path."""
    # The first call of a boot takes another path (timekeeping_warp_clock()).
    target.run(CALL.format(1))
    with target.in_kdb() as kdb:
        executed, written = kdb.address(FUNCTION) + 4, kdb.address("sys_tz")
    address = executed if watched.kind == "x" else written
    tally = f"tally {watched.kind}:{address:#x} {CALL}"
    with target.stopped_at(FUNCTION, tally.format(CALLS)) as stop:
        stop.clear()
        call = target.call()
        for step in target.steps(LONG_PATH):
            step.must_follow_program_order()
            call.must_preserve_callee_saved(step)
            if step.returned and step.after.address == call.returns_to:
                break
        else:
            raise MachineryError(f"{FUNCTION} did not return within {LONG_PATH} steps")
    must_count(target, stop.answer.figures["hits"], CALLS, "the one stepped over and those behind")
    again = target.run(tally.format(MANY), 30).figures
    must_count(target, again["hits"], MANY, "those afterwards")
    target.must_tick()


def must_count(target: Target, hits: int, calls: int, which: str) -> None:
    """Raise KernelFault unless perf has counted each call once."""
    target.metrics[f"hits_of_{calls}"] = hits
    must_be_exact(hits, calls, f"calls: {which}")
