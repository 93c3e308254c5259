# SPDX-License-Identifier: GPL-2.0-only
"""Does a step go in order after sysrq-g or BREAK stopped the kernel?

Claim: with the two patches a debugger that is entered by sysrq-g, or by a BREAK on the serial
line, can step from there. It stops at a compiled-in breakpoint (kgdb_breakpoint() in
kernel/debug/debug_core.c), which a step and `go` must pass. Not raised in the review; it is the
first step that most people make.

Measured: steps from there to a return, each against program order. After sysrq-g interrupts
are on, and one is pending at every step; after BREAK the serial line's interrupt is being
handled, and none is pending. Then whether the guest goes on and its clock ticks.

Refuted by a step that goes elsewhere, as in `step-in-order`; one that stays at the breakpoint
is `stuck`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kstep.machine.capability import Capability
from kstep.session.session import session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from kstep.session.target import Target

STEPS = 200


@dataclass(frozen=True)
class Entry:
    """A way to enter kdb."""

    name: str
    stopped: Callable[[Target], AbstractContextManager[object]]
    requires: Mapping[Capability, str] = field(default_factory=dict)


def by_sysrq(target: Target) -> AbstractContextManager[object]:
    """Enter kdb by sysrq-g."""
    return target.in_kdb()


def by_break(target: Target) -> AbstractContextManager[object]:
    """Enter kdb by BREAK and g."""
    return target.broken_in()


@session(
    claim="After sysrq-g or BREAK, steps go in order.",
    cases=(
        Entry("sysrq", by_sysrq),
        Entry("serial_break", by_break, {Capability.BREAK: "it enters kdb by BREAK"}),
    ),
    area="steps",
)
def step_from_entry(target: Target, entry: Entry) -> None:
    """Stop the kernel by hand, step, and resume it."""
    with entry.stopped(target):
        for step in target.steps_to_a_return(STEPS):
            step.must_follow_program_order()
            step.must_make_progress()
    target.must_tick()
