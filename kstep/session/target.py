# SPDX-License-Identifier: GPL-2.0-only
"""A booted kernel under the debugger: the verbs that sessions are written in."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from kstep.judge.text import LiveText
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
    """One cell's conversation with a booted kernel: a facade of the classes that implement it.

    Each verb is documented in its class. All of them raise KernelFault if the kernel is at
    fault, and MachineryError if kstep or the machine is; a verb in the wrong state is a bug of
    the script, and a MachineryError. ``metrics`` is what the cell reports; gdb's logs go into
    ``folder``. ``gdb_access`` is for users who bring their own gdb.
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
        # Memory read without the kernel or kdb, by virtual and by physical address.
        self.read, self.read_physical = machine.read, machine.read_physical

        self._dialogue = dialogue = Dialogue(machine, self.metrics)
        self.await_line = dialogue.await_line
        self.excusing = dialogue.excusing
        self.provoking = dialogue.provoking
        self.drain, self.require_certain = dialogue.drain, dialogue.require_certain
        self.wait_for_pending_tick = dialogue.wait_for_pending_tick

        stops = Stops(dialogue, symbols, LiveText(machine), machine)
        self.go, self.go_until = stops.go, stops.go_until
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
        self.find, self.find_call = inspection.find, inspection.find_call
        self.locate, self.fixup = inspection.locate, inspection.fixup
        self.successors, self.leads_on = inspection.successors, inspection.leads_on
        self.is_unmasked_in_fault = inspection.is_unmasked_in_fault
        self.must_show_stack = inspection.must_show_stack
        self.call = inspection.call
        self.watch_registers = inspection.watch_registers

        stepping = Stepping(machine, dialogue, stops, inspection, symbols, trace, self.metrics)
        self.steps = stepping.steps
        self.steps_to_a_return = stepping.steps_to_a_return
        self.step_to = stepping.step_to
        self.step_over_brk = stepping.step_over_brk
        self.step_past_mask = stepping.step_past_mask
        self.walks = stepping.walks

        self.gdb_access = gdb = GdbAccess(machine, symbols, dialogue, stops, folder)
        self.in_gdb = gdb.in_gdb
        self.in_gdbstub, self.release_from_gdb = gdb.in_gdbstub, gdb.release_from_gdb
        self.expect_wait_for_gdb = gdb.expect_wait_for_gdb
        self.expect_breakpoint_in_gdb = gdb.expect_breakpoint_in_gdb

    @property
    def kdb(self) -> Kdb:
        """kdb, for commands at its prompt."""
        return self._dialogue.kdb

    @property
    def has_excused(self) -> bool:
        """Whether the script has caused or allowed splats."""
        return self._dialogue.has_excused

    @property
    def state(self) -> State:
        """The state of the guest, as far as the serial line tells."""
        return self._dialogue.state
