# SPDX-License-Identifier: GPL-2.0-only
"""Are breakpoints that stand one behind the other each hit, and each once?

Claim: `go` from a breakpoint steps over it unseen, with all the others out, and puts them
back behind that one step (kdb_bp_install() in kernel/debug/kdb/kdb_bp.c). So the next
instruction's breakpoint is the closest that can be missed, where the step went too far or they
are put back too late, or hit twice. Made by nobody; it is how people look at a loop or at
the arguments of a call.

Measured: the stops of one call over breakpoints on a function's first three instructions:
`go` from each to the next; and `ss` from each to the next, where kdb takes a step that ends at
a breakpoint for a hit of it (kdb_stub() in kernel/debug/kdb/kdb_debugger.c), so that `go` leaves
the last behind.

Refuted by a breakpoint that is not hit (`missed-hits`), one that is hit again (`rehit`), and
a step that ends elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import BREAKPOINT_HIT
from kstep.session.session import session

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.kdb import Breakpoint
    from kstep.session.target import Target

FUNCTION, TRIGGER = "vfs_mkdir", "mkdir /tmp/new && rmdir /tmp/new"  # fs/namei.c
ROW = 3  # a function's first instructions, none of which branches


@dataclass(frozen=True)
class Resume:
    """How the kernel gets from one to the next."""

    name: str
    take: Callable[[Target, tuple[Breakpoint, ...]], None]


def by_go(target: Target, row: tuple[Breakpoint, ...]) -> None:
    """Hit each by `go` from the one before."""
    for each in row[1:]:
        target.go()
        target.expect_breakpoint(each)


def by_step(target: Target, row: tuple[Breakpoint, ...]) -> None:
    """Step from each to the next."""
    for step in target.steps(len(row) - 1):
        step.must_follow_program_order()
        if step.stop.reason != BREAKPOINT_HIT:
            raise KernelFault(
                Signature.MISSED_HITS, f"the step onto the breakpoint at {step.after} is none"
            )


@session(
    claim="Of breakpoints one behind the other each is hit, and each once.",
    cases=(Resume("go", by_go), Resume("ss", by_step)),
    area="break- and watchpoints",
)
def breakpoints_in_a_row(target: Target, resume: Resume) -> None:
    """Go over a row of breakpoints, twice."""
    for _ in range(2):
        with target.in_kdb() as kdb:
            begin = kdb.address(FUNCTION)
            row = tuple(kdb.breakpoint(begin + 4 * number) for number in range(ROW))
            for one, other in pairwise(row):
                if target.successors(one.address) != {other.address}:
                    raise MachineryError(f"{FUNCTION} branches within {ROW} instructions")
        with target.running(TRIGGER):
            target.expect_breakpoint(row[0])
            resume.take(target, row)
            target.go()
        with target.in_kdb() as kdb:
            for each in row:
                kdb.clear(each)
    target.must_tick()
