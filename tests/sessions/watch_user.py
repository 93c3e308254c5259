# SPDX-License-Identifier: GPL-2.0-only
"""Do hardware breakpoints and watchpoints in user space count each hit exactly once?

Claim: user space must not notice the patches. Nobody said otherwise, but perf steps over a hit
there as it does in the kernel (breakpoint_handler() and watchpoint_handler() in
arch/arm64/kernel/hw_breakpoint.c), with the same MDSCR_EL1.SS, and interrupts come meanwhile.

Measured: the hits of perf's events on a function of a program and on a variable that it
writes, each against how often the program did that, while an interrupt comes every 100
microseconds. What the kernel writes on the program's behalf is not looked at: QEMU 7.2 raises
no watchpoint at an unprivileged store in EL1.

Refuted by more hits than there was to count (`double-hits`), or fewer (`missed-hits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

TIMES = 20_000  # some hundred of them meet an interrupt
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class UserAccess:
    """What is watched; ``name`` is how the guest's program calls it."""

    name: str


@session(
    claim="A break- or watchpoint in user space counts each hit once.",
    cases=(UserAccess("executed"), UserAccess("written")),
    area="break- and watchpoints",
)
def watch_user(target: Target, access: UserAccess) -> None:
    """Count hits, and hold them against what the program did."""
    counted = target.run(f"userhits {access.name} {TIMES} {OFTEN}", 30).figures
    target.metrics.update(counted)
    must_be_exact(counted["hits"], counted["times"], "passes")
