# SPDX-License-Identifier: GPL-2.0-only
"""Is all this the same for a kernel that runs at EL2?

Claim: it is. Nobody said otherwise, but the series was tried in virtual machines, whose kernels
run at EL1, and where firmware hands over at EL2, as on most servers, a kernel stays there
(VHE). Debug exceptions are routed otherwise then (HCR_EL2.TGE), and SPSR_EL1 and ELR_EL1 are
other registers, while MDSCR_EL1, and so what 1/2 and 2/2 write, is the same.

Measured: `step`: 300 steps from a breakpoint, as in step-in-order; `go`: a breakpoint is hit
once a command, as in continue-past-breakpoint; `watch`: hits of perf's breakpoint against calls
while an interrupt comes every 100 microseconds, as in watch-in-interrupt.

Refuted as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.errors import MachineryError
from kstep.machine import Hardware
from kstep.outcome import KernelFault, Signature
from kstep.session import session
from tests.sessions.functions import TAKES_SPINLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.kdb import Kdb
    from kstep.target import Target

MODE, EL2H = 0xF, 9  # of PSTATE: arch/arm64/include/uapi/asm/ptrace.h
CALLS = 20_000  # some hundred of them meet an interrupt
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class Use:
    """What is done with the debugger."""

    name: str
    make: Callable[[Target], None]


def step(target: Target) -> None:
    """Step from a breakpoint, and go on."""
    with target.in_kdb() as kdb:
        must_run_at_el2(kdb)
        stop_here = kdb.breakpoint(TAKES_SPINLOCK.name)
    with target.running(TAKES_SPINLOCK.trigger):
        target.expect_breakpoint(stop_here)
        call = target.call()
        for each in target.steps_to_a_return(300):
            each.must_follow_program_order()
            each.must_get_on()
            call.must_restore_on_return(each)
        kdb.clear(stop_here)
        target.go()


def go(target: Target) -> None:
    """Go on from a breakpoint, again and again."""
    with target.in_kdb() as kdb:
        must_run_at_el2(kdb)
        stop_here = kdb.breakpoint(TAKES_SPINLOCK.name)
    for _ in range(5):
        with target.running(TAKES_SPINLOCK.trigger):
            target.expect_breakpoint(stop_here)
            target.go()


def watch(target: Target) -> None:
    """Count the hits of a breakpoint that perf steps over."""
    with target.in_kdb() as kdb:
        must_run_at_el2(kdb)
        address = kdb.address("__arm64_sys_gettid")  # kernel/sys.c
    counted = target.run(f"untouched {CALLS} {OFTEN} x:{address:#x}", 30).figures
    target.metrics.update(counted)
    calls, hits = counted["calls"], counted["hits"]
    if hits != calls:
        raise KernelFault(
            Signature.DOUBLE_HITS if hits > calls else Signature.MISSED_HITS,
            f"what {calls} calls passed was hit {hits} times",
        )


def must_run_at_el2(kdb: Kdb) -> None:
    """Raise MachineryError where the stopped kernel does not run at EL2."""
    if kdb.registers()["pstate"] & MODE != EL2H:
        raise MachineryError("this machine has no EL2 for its kernel, or the kernel left it")


@session(
    claim="A kernel at EL2 is stepped as one at EL1 is.",
    cases=(Use("step", step), Use("go", go), Use("watch", watch)),
    hardware=Hardware(el2=True),
)
def step_at_el2(target: Target, use: Use) -> None:
    """Use the debugger."""
    use.make(target)
    target.must_tick()
