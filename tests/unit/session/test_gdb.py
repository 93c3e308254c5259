# SPDX-License-Identifier: GPL-2.0-only
"""gdb's access: what a wait for a breakpoint comes to."""

from __future__ import annotations

import select

import pytest

from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import Breakpoint, Stop
from kstep.session.target import Target
from tests.unit.farend import MadeUp, end, machine_of, say
from tests.unit.session.conversations import F, G, ScriptedGdb, made_up

END = end()
POINT = Breakpoint(0, F)
HANG = KernelFault(Signature.HANG, "gdb sees no stop")


def wait_for(gdb: ScriptedGdb, kernel: MadeUp) -> Stop:
    """Wait for the breakpoint while a command runs; return where the kernel is taken to be."""
    with machine_of(kernel) as machine:
        target = Target(machine, kernel.names)
        target._dialogue.start("trigger")
        if kernel.runs == [END]:  # it is on the line before gdb gives up
            select.select([machine.console._fd], [], [], 10)
        target._dialogue.hand_to_gdb()
        target.expect_breakpoint_in_gdb(gdb, POINT)
        return target.gdb_access._stops.resumed()


def fault_of_wait(gdb: ScriptedGdb, kernel: MadeUp) -> KernelFault:
    """Wait, which must find a fault."""
    with pytest.raises(KernelFault) as fault:
        wait_for(gdb, kernel)
    return fault.value


def test_a_hit_is_where_steps_go_on_from() -> None:
    hit = Stop("Breakpoint", F, 0, 0)
    assert wait_for(ScriptedGdb(hit), made_up(say(""))) == hit


def test_a_stop_elsewhere_is_off_order() -> None:
    fault = fault_of_wait(ScriptedGdb(Stop("SIGTRAP", G, 0, 0)), made_up(say("")))
    assert fault.signature is Signature.OFF_ORDER
    assert str(fault) == "gdb sees SIGTRAP at g, not a hit of f"


def test_a_command_that_ended_missed_the_breakpoint() -> None:
    fault = fault_of_wait(ScriptedGdb(HANG), made_up(END))
    assert fault.signature is Signature.MISSED_HITS
    assert str(fault) == "the command ended with status 0, but gdb saw no stop at f"


def test_a_guest_that_is_silent_hangs_as_gdb_has_it() -> None:
    assert str(fault_of_wait(ScriptedGdb(HANG), made_up(say("")))) == "gdb sees no stop"


def test_a_splat_that_gdb_s_wait_hears_stays_one() -> None:
    """It was called a hang, because the command's end was waited for and did not come."""
    splat = KernelFault(Signature.SPLAT, "BUG: x")
    assert fault_of_wait(ScriptedGdb(splat), made_up(say(""))) is splat
