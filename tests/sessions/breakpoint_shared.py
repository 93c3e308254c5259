# SPDX-License-Identifier: GPL-2.0-only
"""Can kdb and perf have a breakpoint on one instruction?

Claim: yes; each is hit once a pass, and the kernel goes on. Not raised in the review; somebody who
traces a function also looks at it in the debugger. perf's breakpoint is the hardware's, and comes
first: breakpoint_handler() (arch/arm64/kernel/hw_breakpoint.c) counts, and has the kernel step over
the instruction. That is kdb's BRK, so kdb stops amid perf's step, and `go` and `ss` must step over
the BRK for kdb, with perf's step still to be ended.

Measured: perf's count of the passes of a system call's first instruction, and kdb's stops, when
kdb's breakpoint is left with `go`, and with steps.

The kernels as shipped, with and without 1/2, do not get past it: the step exception is taken for
perf's alone (reinstall_suspended_bps()), kgdb is not told, and its lock is left held: "scheduling
while atomic", or worse.

Refuted by a breakpoint that hits again (`rehit`, `double-hits`) or not (`missed-hits`), by a step
that goes elsewhere, by a kernel that complains or dies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

FUNCTION = "__arm64_sys_settimeofday"  # kernel/time/time.c
CALL = "syscall settimeofday 1 0 @"
PASSES = 3
STEPS = 20


@dataclass(frozen=True)
class Leaving:
    """How kdb's breakpoint is left."""

    name: str
    steps: int  # before `go`


@session(
    claim="kdb and perf can have a breakpoint on one instruction, and each is hit once a pass.",
    cases=(Leaving("go", 0), Leaving("ss", STEPS)),
    area="break- and watchpoints",
)
def breakpoint_shared(target: Target, leaving: Leaving) -> None:
    """Pass an instruction that kdb and perf stop at or count."""
    target.run(CALL)  # the first call of a boot takes another path (timekeeping_warp_clock())
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint(FUNCTION)
        address = kdb.address(FUNCTION)
    counted = 0
    for _ in range(PASSES):
        with target.running(f"tally x:{address:#x} {CALL}") as answers:
            target.expect_breakpoint(stop_here)
            for step in target.steps(leaving.steps):
                step.must_follow_program_order()
            target.go()
        counted += answers[0].figures["hits"]
        target.run("echo still here")
    target.metrics["hits"] = counted
    must_be_exact(counted, PASSES, "passes, by perf")
    with target.in_kdb() as kdb:
        kdb.clear(stop_here)
    target.must_tick()
