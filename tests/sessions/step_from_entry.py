# SPDX-License-Identifier: GPL-2.0-only
"""Does a step go in order from where the kernel was stopped by hand?

Claim: with the two patches a debugger that is entered by sysrq-g, or by a BREAK on the serial
line, steps on from there. It stops at a breakpoint that is compiled in (kgdb_breakpoint() in
kernel/debug/debug_core.c), which a step must pass and `go` too. Nobody spoke of it; it is
the first step that most people make.

Measured: steps from there and on to a return, each against program order. Behind sysrq-g
interrupts are on, and one is due at every step; behind BREAK the serial line's own is being
handled, and none is due. Then whether the guest goes on and its clock too.

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
    """A way into kdb, and out of it at the end."""

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
    claim="A step from where sysrq-g or BREAK stopped the kernel goes in order.",
    cases=(
        Entry("sysrq", by_sysrq),
        Entry("serial_break", by_break, {Capability.BREAK: "it enters kdb by BREAK"}),
    ),
    area="steps",
)
def step_from_entry(target: Target, entry: Entry) -> None:
    """Stop the kernel by hand, step on, and let it go."""
    with entry.stopped(target):
        for step in target.steps_to_a_return(STEPS):
            step.must_follow_program_order()
            step.must_make_progress()
    target.must_tick()
