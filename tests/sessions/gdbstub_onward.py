# SPDX-License-Identifier: GPL-2.0-only
"""From the vector where a step by QEMU's gdbstub has ended, how does one get on, under KVM?

Claim: as people do: `continue` to a breakpoint on the interrupted instruction, `stepi` on through
the handler, or `next`, which does not stop there at all. Made in the discussion of the series, of
virtual machines.

Measured, after steps that ended in an interrupt's vector: whether `continue` stops at the
interrupted instruction, with the stack pointer of before (another task, or a nested interrupt,
may reach the same instruction); how many `stepi` it takes to be back there; and where `next` over
the first line of a system call ends. Breakpoints are out while the guest is stepped.

Refuted by `continue` that does not come back (`hang`, `runaway`); by `stepi` that reaches the
handler's end and is interrupted again at the same instruction, before it has run (`livelock`): each
step takes so long on the guest's clock that the next tick is due. By `next` that ends in a vector
(`enters-interrupt`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.session.session import session
from tests.session_parts.stub_calls import LONG, TICK, end, enter, land

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.gdb import Gdb
    from kstep.session.target import Target

DILATION = 8  # about every fifth step ends in a vector
HARDWARE = Hardware(dilation=DILATION, dilation_required=False)
TRIGGER = f"jitter {TICK} 100000"  # calls, if they are not ended before
LANDINGS, NEXTS = 20, 20
THROUGH = 8000  # steps; the handler has some 3000 instructions


@dataclass(frozen=True)
class Means:
    """A way to get on."""

    name: str
    get_on: Callable[[Target, Gdb], None]


def by_continue(target: Target, gdb: Gdb) -> None:
    """Continue to the interrupted instruction, from one landing after another."""
    others = 0
    for number in range(1, LANDINGS + 1):
        interrupted, call = land(target, gdb)
        # The next call would come by there, too.
        others += interrupted.reach(gdb, "interrupted instruction", before=call.back)
        target.metrics |= {"back": number, "stops_of_others": others}
        call.leave(gdb)


def by_stepi(target: Target, gdb: Gdb) -> None:
    """Step on through the handler, until the interrupted instruction or its next interrupt."""
    interrupted, call = land(target, gdb)
    vector = gdb.registers()["pc"]
    for number in range(1, THROUGH + 1):
        pc = gdb.step_instruction().pc
        target.metrics["steps_on"] = number
        if pc == interrupted.pc and gdb.registers()["sp"] == interrupted.sp:
            call.leave(gdb)
            return
        if pc == vector and gdb.value("$ELR_EL1") == interrupted.pc:
            raise KernelFault(
                Signature.LIVELOCK,
                f"after {number} steps through the handler the same instruction is interrupted"
                " again, and has not run",
            )
    raise KernelFault(Signature.LIVELOCK, f"not back after {THROUGH} steps on from the vector")


def by_next(target: Target, gdb: Gdb) -> None:
    """Step over the first source line of the function, in one call after another."""
    ended: Counter[str] = Counter()
    for _ in range(NEXTS):
        call = enter(target, gdb)
        ended[target.locate(gdb.run("-exec-next", Signature.RUNAWAY)).symbol] += 1
        call.leave(gdb)
    landed = ended["vectors"]
    target.metrics |= {"nexts": NEXTS, "ended_in_vectors": landed}
    if landed:
        raise KernelFault(
            Signature.ENTERS_INTERRUPT, f"of {NEXTS} next, {landed} ended in a vector"
        )


@session(
    claim="After a step by QEMU's gdbstub that ended in a vector, a debugger gets on, under KVM.",
    cases=(
        Means("continue", by_continue),
        Means("stepi", by_stepi),
        Means("next", by_next),
    ),
    hardware=HARDWARE,
    requires={
        Capability.GDBSTUB: "it has gdb on QEMU's own gdbstub",
        Capability.GDBSTUB_BY_KVM: "it asks how KVM steps",
        Capability.MEMORY_WITHOUT_KDB: "it reads each instruction while that gdb steps",
    },
    area="kdb and gdb",
)
def gdbstub_onward(target: Target, means: Means) -> None:
    """Let a step end in a vector, and get on from there."""
    with target.in_gdbstub(1) as gdb, target.running(TRIGGER, LONG):
        means.get_on(target, gdb)
        end(target, gdb)
