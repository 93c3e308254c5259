# SPDX-License-Identifier: GPL-2.0-only
"""Do hardware breakpoints and watchpoints in user space count each hit exactly once?

Claim: user space must not notice the patches. Not raised in the review, but perf steps over a
hit there as in the kernel (breakpoint_handler() and watchpoint_handler() in
arch/arm64/kernel/hw_breakpoint.c), with the same MDSCR_EL1.SS, and interrupts come meanwhile.

Measured: the hits of perf's events on a function of a program, on a variable that it writes, and
on the instruction of a system call, over which the step is due during the whole call; each against
the program's own count, while an interrupt comes every 100 microseconds. The kernel's writes for
the program are not measured: QEMU 7.2 raises no watchpoint at an unprivileged store in EL1.

In `called` the kernels as shipped end the program by SIGTRAP, though nobody traces it:
syscall_trace_exit() (arch/arm64/kernel/ptrace.c) takes the kernel's own step for a tracer's.

Refuted by more hits than the program counted (`double-hits`), or fewer (`missed-hits`), and by a
program that does not end as it should (`wrong-result`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

TIMES = 20_000  # an interrupt comes in about a hundred of them
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class UserAccess:
    """What is watched; ``name`` is its name in the guest's program."""

    name: str


@session(
    claim="A breakpoint or watchpoint in user space counts each hit once.",
    cases=(UserAccess("executed"), UserAccess("written"), UserAccess("called")),
    area="break- and watchpoints",
)
def watch_user(target: Target, access: UserAccess) -> None:
    """Count hits, and compare them with what the program did."""
    counted = target.run(f"userhits {access.name} {TIMES} {OFTEN}", 30).figures
    target.metrics.update(counted)
    must_be_exact(counted["hits"], counted["times"], "passes")
