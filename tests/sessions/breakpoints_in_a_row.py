# SPDX-License-Identifier: GPL-2.0-only
"""Are breakpoints on consecutive instructions each hit exactly once?

Claim: `go` from a breakpoint first steps over it, with all breakpoints removed, and installs
them again after that one step (kdb_bp_install() in kernel/debug/kdb/kdb_bp.c). The breakpoint
on the next instruction is the first to be missed or hit twice if the step goes too far or if
they are installed too late. Not raised in the review; people look at loops and at the
arguments of a call this way.

Measured: the stops of one call over breakpoints on a function's first three instructions:
`go` from each to the next; and `ss` from each to the next. kdb reports a step that ends at a
breakpoint as a hit (kdb_stub() in kernel/debug/kdb/kdb_debugger.c), so `go` then gets past
the last.

Refuted by a breakpoint that is not hit (`missed-hits`), one that is hit again (`rehit`), and
a step that ends elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import BREAKPOINT_HIT
from kstep.session.session import session

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.kdb import Breakpoint
    from kstep.session.target import Target

# fs/namei.c, each called once by the trigger. clang begins vfs_mkdir() with a branch, if it can.
FUNCTIONS, TRIGGER = (
    ("vfs_mkdir", "do_mkdirat", "__arm64_sys_mkdirat"),
    "mkdir /tmp/new && rmdir /tmp/new",
)
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
                Signature.MISSED_HITS, f"the step onto {step.after} did not hit its breakpoint"
            )


def straight(target: Target) -> range:
    """Return the addresses of instructions that run one after another."""
    for name in FUNCTIONS:
        if name in target.symbols:
            first = target.symbols.address(name)
            row = range(first, first + 4 * ROW, 4)
            if all(map(target.leads_on, row)):
                return row
    raise MachineryError(f"{', '.join(FUNCTIONS)} all branch within {ROW} instructions")


@session(
    claim="Breakpoints on consecutive instructions are each hit exactly once.",
    cases=(Resume("go", by_go), Resume("ss", by_step)),
    area="break- and watchpoints",
)
def breakpoints_in_a_row(target: Target, resume: Resume) -> None:
    """Go over a row of breakpoints, twice."""
    for _ in range(2):
        with target.in_kdb() as kdb:
            row = tuple(kdb.breakpoint(address) for address in straight(target))
        with target.running(TRIGGER):
            target.expect_breakpoint(row[0])
            resume.take(target, row)
            target.go()
        with target.in_kdb() as kdb:
            for each in row:
                kdb.clear(each)
    target.must_tick()
