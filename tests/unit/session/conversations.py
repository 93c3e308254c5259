# SPDX-License-Identifier: GPL-2.0-only
"""Conversations with a made-up kernel, shared by the tests of the session's nouns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.gdb import Gdb
from kstep.session.target import Target
from tests.unit.farend import MadeUp, booted, machine_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.kdb import Stop
    from tests.unit.farend import Event

F = 0xFFFF_8000_0810_0000
G = 0xFFFF_8000_0811_0000
NOP = 0xD503_201F
ERET = 0xD69F_03E0
RET = 0xD65F_03C0
WORDS = {F: NOP, F + 4: NOP, F + 8: ERET}


def made_up(*runs: Event, steps: tuple[Event, ...] = (), smp: bool = True) -> MadeUp:
    """Make a kernel with two functions."""
    return MadeUp(
        symbols={"f": F, "g": G}, words=WORDS, runs=list(runs), steps=iter(steps), smp=smp
    )


def go_past(target: Target) -> None:
    """Hit a breakpoint at f, and go on."""
    with target.in_kdb() as kdb:
        point = kdb.breakpoint("f")
    with target.running("trigger"):
        target.expect_breakpoint(point)
        target.go()


def fault_of(
    kernel: MadeUp, script: Callable[[Target], object] = go_past, scale: float = 1.0
) -> KernelFault:
    """Run a script that must find a fault, with a time scale."""
    with machine_of(kernel) as machine:
        machine.scale = scale
        target = Target(machine, kernel.names)
        with pytest.raises(KernelFault) as fault:
            script(target)
    return fault.value


def mistake_of(kernel: MadeUp, script: Callable[[Target], object]) -> str:
    """Run a script that is wrong; return what it is told."""
    with pytest.raises(MachineryError) as error, booted(kernel) as target:
        script(target)
    assert error.value.signature is Signature.INFRASTRUCTURE
    return str(error.value)


def step_twice(target: Target, steps: int = 2) -> None:
    """Step from the breakpoint at f, twice unless told otherwise."""
    with target.in_kdb() as kdb:
        point = kdb.breakpoint("f")
    with target.running("trigger"):
        target.expect_breakpoint(point)
        for each in target.steps(steps):
            each.must_follow_program_order()
        target.go()


class ScriptedGdb(Gdb):
    """A gdb that is not started: what it waits for ``comes`` at once."""

    def __init__(self, comes: Stop | KernelFault | None = None) -> None:
        self._comes = comes

    def wait(self, what: str, signature: Signature = Signature.HANG) -> Stop:  # noqa: ARG002 -- as Gdb has it
        """Stop, or raise the fault."""
        if isinstance(self._comes, KernelFault):
            raise self._comes
        assert self._comes is not None
        return self._comes
