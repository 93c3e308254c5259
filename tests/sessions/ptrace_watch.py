# SPDX-License-Identifier: GPL-2.0-only
"""Does a tracer's hardware breakpoint or watchpoint stop at each access, whatever its width?

Claim: it stops before each access of what is watched and at no other, and the step over it runs the
access. Not raised in the review. gdb sets such points by NT_ARM_HW_BREAK and NT_ARM_HW_WATCH, and
has to take one out to step over it, because the kernel makes no step of its own for ptrace
(breakpoint_handler(), watchpoint_handler() in arch/arm64/kernel/hw_breakpoint.c). The kernel finds
the watchpoint by the address that the CPU reports, which may lie below what is watched (rr issue
3388); QEMU's CPU reports one within.

Measured: 100 accesses of a kind by a program, each after some beside what is watched, while an
interrupt comes every 100 microseconds: an instruction, a byte between bytes, the upper half of a
pair stored or loaded, a part of 16 bytes, a byte of a store that begins in the doubleword below,
and a part of a block that DC ZVA zeroes.

Refuted by an access without a stop (`missed-hits`), a stop at another access or told otherwise
(`wrong-result`), or a step over one that does not end behind it, with the access done (`stuck`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

TIMES = 100
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class Access:
    """What is watched; the name is that of the kind of tests/guest/hwtrace.c."""

    name: str


KINDS = ("executed", "byte", "pair", "vector", "below", "zeroed", "loaded")


@session(
    claim="A tracer's breakpoint or watchpoint stops at each access, and the step over it runs it.",
    cases=tuple(map(Access, KINDS)),
    area="user space",
)
def ptrace_watch(target: Target, access: Access) -> None:
    """Watch a program by ptrace, as gdb does."""
    answer = target.run(f"hwtrace {access.name} {TIMES} {OFTEN}", 30)
    found = answer.figures
    target.metrics.update(found)
    if found["elsewhere"]:
        raise KernelFault(Signature.WRONG_RESULT, answer.text.splitlines()[0])
    if found["unstepped"]:
        raise KernelFault(Signature.STUCK, answer.text.splitlines()[0])
    must_be_exact(found["hits"], found["times"], "accesses")
