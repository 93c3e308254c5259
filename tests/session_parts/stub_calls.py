# SPDX-License-Identifier: GPL-2.0-only
"""Calls of one system call, each entered and left by gdb on QEMU's stub, for sessions under KVM.

No breakpoint is set where the guest is stepped: gdb steps over it before it continues, and if that
step ends in a vector, the breakpoint is hit again when the interrupt returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature

if TYPE_CHECKING:
    from kstep.console.gdb import Gdb
    from kstep.session.target import Target

FUNCTION = "__arm64_sys_getsid"  # kernel/sys.c; tests/guest/jitter.c calls it, and nothing else
TICK = 1_000_000  # nanoseconds: CONFIG_HZ=1000 (kconfigs/base.config)
LONG = 60.0  # seconds for a command of the guest, before the time scale
OTHERS = 20  # stops where others come by
TRIES = 1000  # calls until a step ends in a vector: on fast hardware one step in 1000 may
STEPS = 8  # in each of them


@dataclass(frozen=True)
class Context:
    """A place in the guest, and the stack pointer that tells who is there."""

    pc: int
    sp: int

    def reach(self, gdb: Gdb, what: str, before: Context | None = None) -> int:
        """Continue to it; return how often another task, or a nested interrupt, was there.

        Raises KernelFault ``runaway`` if it is not reached, or not ``before`` another context.
        """
        points = [gdb.breakpoint(each.pc) for each in (self, before) if each is not None]
        for others in range(OTHERS):
            gdb.resume()
            gdb.wait(what, Signature.RUNAWAY)
            registers = gdb.registers()
            here = Context(registers["pc"], registers["sp"])
            if here == self:
                for point in points:
                    gdb.clear(point)
                return others
            if here == before:
                raise KernelFault(
                    Signature.RUNAWAY, f"continue came to {here.pc:#x}, and not to the {what}"
                )
        raise KernelFault(
            Signature.RUNAWAY, f"continue stopped {OTHERS} times, and never at the {what}"
        )


@dataclass(frozen=True)
class Call:
    """A call that was entered: its first instruction, and where it returns to."""

    entry: Context
    back: Context

    def leave(self, gdb: Gdb) -> None:
        """Continue to its end, whatever interrupts it."""
        self.back.reach(gdb, "return from the system call")


def enter(target: Target, gdb: Gdb) -> Call:
    """Continue to the next call."""
    stop_here = gdb.breakpoint(FUNCTION)
    gdb.resume()
    target.expect_breakpoint_in_gdb(gdb, stop_here)
    gdb.clear(stop_here)
    registers = gdb.registers()
    sp = registers["sp"]
    return Call(Context(stop_here.address, sp), Context(registers["x30"], sp))


def end(target: Target, gdb: Gdb) -> None:
    """Let one more call fail, so that the guest's program ends, and let the guest run."""
    call = enter(target, gdb)
    call.leave(gdb)
    gdb.type("set $x0 = -1")
    gdb.resume()


def land(target: Target, gdb: Gdb, tries: int = TRIES) -> tuple[Context, Call]:
    """Step in calls until a step ends in a vector; return what is interrupted, and its call.

    Raises MachineryError if no step does in ``tries`` calls.
    """
    for _ in range(tries):
        call = enter(target, gdb)
        for step in target.steps(STEPS, gdb):
            if step.after.symbol == "vectors":
                # The vector's code has not run: the stack pointer is as it was.
                sp = gdb.registers()["sp"]
                return Context(gdb.value("$ELR_EL1"), sp), call
            if not step.in_order:
                break
        call.leave(gdb)
    raise MachineryError(f"in {tries} calls no step ended in a vector, so nothing was tested")
