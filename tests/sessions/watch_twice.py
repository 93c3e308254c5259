# SPDX-License-Identifier: GPL-2.0-only
"""Do several events at one address each count every hit?

Claim: they do. Not raised in the review; a debugger and a tracer, or two users of perf, watch the
same place. breakpoint_handler() and watchpoint_handler() (arch/arm64/kernel/hw_breakpoint.c)
report a hit to each event whose registers match, and then make one step for all of them.

Measured: the hits of each event against the program's own count, while an interrupt comes every
200 microseconds: three breakpoints on an instruction, three watchpoints on a variable, of 8 bytes
and of its first 4, breakpoints on the instruction that writes what a watchpoint watches, and as
many as the CPU has registers for, each at a place of its own (`user_all`); in user space, and three
breakpoints and three watchpoints in the kernel.

Refuted by an event with fewer hits (`missed-hits`) or more (`double-hits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

TIMES, OFTEN = 5000, 200  # passes, microseconds
# kernel/time/time.c: a call passes the function, which is in the table of system calls and so never
# inlined, and writes the variable once
FUNCTION, VARIABLE = "__arm64_sys_settimeofday", "sys_tz"


@dataclass(frozen=True)
class Several:
    """Events of the guest's program `twice`, or of what kernel symbol by the kind of event."""

    name: str
    events: tuple[str, ...] = ()
    kernel: str = ""
    symbol: str = ""


@session(
    claim="Several events at one address each count every hit.",
    cases=(
        Several("user_breakpoints", ("x", "x", "x")),
        Several("user_watchpoints", ("w8", "w8", "w8")),
        Several("user_overlapping", ("w8", "w4", "w8")),
        Several("user_both", ("x", "w8", "x")),
        Several("user_all", ("x+", "w+")),
        Several("kernel_breakpoints", kernel="x", symbol=FUNCTION),
        Several("kernel_watchpoints", kernel="w", symbol=VARIABLE),
    ),
    area="break- and watchpoints",
)
def watch_twice(target: Target, several: Several) -> None:
    """Count the hits of each, and compare them with the passes."""
    events = several.events
    if several.kernel:
        with target.in_kdb() as kdb:
            events = (f"{several.kernel}:{kdb.address(several.symbol):#x}",) * 3
    counted = target.run(f"twice {TIMES} {OFTEN} {' '.join(events)}", 30).figures
    target.metrics.update(counted)
    for event in ("least", "most"):
        must_be_exact(counted[event], counted["times"], f"passes, by the event with the {event}")
