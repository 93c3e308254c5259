# SPDX-License-Identifier: GPL-2.0-only
"""A booted kernel under the debugger: the verbs that sessions are written in."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from kstep.judge.text import Text
from kstep.session.commands import Commands
from kstep.session.dialogue import Dialogue
from kstep.session.gdb import GdbAccess
from kstep.session.inspection import Inspection
from kstep.session.stepping import Stepping
from kstep.session.stops import Stops

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.console.kdb import Kdb
    from kstep.image.symbols import Symbols
    from kstep.machine.interface import Machine
    from kstep.session.dialogue import State


class Target:
    """One cell's conversation with a booted kernel: the front of the nouns that hold it.

    Each verb is described where its noun is. All of them raise KernelFault if the kernel did
    wrong, and MachineryError if we or the machine did; a verb in a state that it is not for is
    the script's mistake, and a MachineryError. ``metrics`` is what the cell reports; into
    ``folder`` goes what gdb was told and said. ``gdb_access`` is for whoever brings a gdb of
    their own.
    """

    def __init__(
        self,
        machine: Machine,
        symbols: Symbols,
        trace: IO[str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.symbols = symbols
        self.metrics: dict[str, float] = {}
        # Memory past the kernel and kdb, as the CPU maps it, and as it does not.
        self.read, self.read_physical = machine.read, machine.read_physical

        self._dialogue = dialogue = Dialogue(machine, self.metrics)
        self.await_line = dialogue.await_line
        self.excusing = dialogue.excusing
        self.provoking = dialogue.provoking
        self.drain, self.require_certain = dialogue.drain, dialogue.require_certain
        self.wait_for_pending_tick = dialogue.wait_for_pending_tick

        stops = Stops(dialogue, symbols, Text(machine))
        self.go = stops.go
        self.expect_stop = stops.expect_stop
        self.expect_breakpoint = stops.expect_breakpoint
        self.break_in = stops.break_in
        self.crash = stops.crash
        self.step_unjudged = stops.step

        commands = Commands(machine, dialogue, stops)
        self.run = commands.run
        self.ask = commands.ask
        self.running = commands.running
        self.must_tick = commands.must_tick
        self.version = commands.version
        self.in_kdb = commands.in_kdb
        self.stopped_at = commands.stopped_at
        self.stop_in = commands.stop_in
        self.broken_in = commands.broken_in
        self.coming_up = commands.coming_up
        self.without_kgdboc = commands.without_kgdboc
        self.reboot = commands.reboot

        inspection = Inspection(machine, symbols, dialogue, stops)
        self.known = inspection.known
        self.find = inspection.find
        self.locate = inspection.locate
        self.successors, self.fixup = inspection.successors, inspection.fixup
        self.is_unmasked_in_fault = inspection.is_unmasked_in_fault
        self.must_show_stack = inspection.must_show_stack
        self.call = inspection.call
        self.watch_registers = inspection.watch_registers

        stepping = Stepping(dialogue, stops, inspection, symbols, trace, self.metrics)
        self.steps = stepping.steps
        self.steps_to_a_return = stepping.steps_to_a_return
        self.step_to = stepping.step_to
        self.step_over_brk = stepping.step_over_brk
        self.step_past_mask = stepping.step_past_mask
        self.walks = stepping.walks

        self.gdb_access = gdb = GdbAccess(machine, symbols, dialogue, stops, folder)
        self.in_gdb = gdb.in_gdb
        self.in_gdbstub = gdb.in_gdbstub
        self.expect_wait_for_gdb = gdb.expect_wait_for_gdb
        self.expect_breakpoint_in_gdb = gdb.expect_breakpoint_in_gdb

    @property
    def kdb(self) -> Kdb:
        """kdb, for commands at its prompt."""
        return self._dialogue.kdb

    @property
    def has_excused(self) -> bool:
        """Whether the script has brought about splats, or let the kernel complain."""
        return self._dialogue.has_excused

    @property
    def state(self) -> State:
        """Where the guest is, as far as the line tells."""
        return self._dialogue.state
