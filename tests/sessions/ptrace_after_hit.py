# SPDX-License-Identifier: GPL-2.0-only
"""Does a tracer's step come back from where a breakpoint's signal stopped the program?

Claim: it does. Reported of rr (issue 4100, September 2026), which has perf's breakpoint send a
signal that stops the program. The kernel then has a step of its own due over the breakpoint
(suspended_step in arch/arm64/kernel/hw_breakpoint.c): it set TIF_SINGLESTEP when the breakpoint was
hit, before the tracer asked for its step, and takes the one step exception that follows for its
own.

Measured: a program goes round a block with an event on an instruction or a variable; at each stop
by the event's signal the tracer steps to the end of the block, and each stop must be the next
instruction. `breakpoint` and `watchpoint` are perf's; `hardware` is a breakpoint that the tracer
set by ptrace, takes out, and sets again (no step of the kernel's own).

Refuted by a step that ends elsewhere, or at the next hit (`wrong-result`), or never (`hang`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.session.session import session
from tests.sessions.ptrace_stops import Mode, must_stop_as_asked

if TYPE_CHECKING:
    from kstep.session.target import Target

ROUNDS = 100


@session(
    claim="A tracer's step comes back from where a breakpoint's signal stopped the program.",
    cases=(Mode("breakpoint"), Mode("watchpoint"), Mode("hardware")),
    area="user space",
)
def ptrace_after_hit(target: Target, mode: Mode) -> None:
    """Step on from each hit."""
    must_stop_as_asked(target, mode.name, ROUNDS)
