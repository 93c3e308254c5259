# SPDX-License-Identifier: GPL-2.0-only
"""An interactive console of a booted machine: the guest's shell, and kdb."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.console.console import SilenceError
from kstep.hand.terminal import Terminal

if TYPE_CHECKING:
    from kstep.machine.hardware import Hardware
    from kstep.machine.interface import Machine
    from kstep.run.preparation import Prepared

LEAVE, ENTER_KDB = b"\x1d", b"\x1c"  # Ctrl-] and Ctrl-\
SHELL_PROMPT = b"guest# "  # tests/guest/init.c
ASKS_CURSOR = b"\x1b[6n"  # busybox's shell asks for the cursor position after its prompt
MAY_ASK = re.compile(rb"\x1b(\[6?)?\Z")
PROMPT = re.compile(rb"(?P<prompt>guest# |(?:\[\d+\])?(?:kdb|(?P<more>more))> )(?:\x1b\[6n)?\Z")
PATIENCE = 3600.0  # seconds for a command of a script


def shell(prepared: Prepared, asked: Hardware) -> None:
    """Connect the user to the console of the one prepared kernel, until they leave it.

    ``asked`` is the machine. If the input is not a terminal, its lines are typed one by one, each
    when the shell or kdb prompts; the machine ends after the last.
    """
    built = prepared.built[0]
    hardware = replace(asked, parameters=f"kstep.shell=interactive {asked.parameters}".rstrip())
    with Terminal() as terminal, prepared.machine(built.require(), hardware) as machine:
        if terminal.is_terminal:
            terminal.say(
                f"kernel {built.first}: Ctrl-] leaves and ends the machine;"
                " Ctrl-\\ enters kdb, `go` leaves it"
            )
        _boot(machine, terminal)
        if not hardware.waits:  # such a boot has ended at kdb's prompt
            _await_prompt(machine)
        if terminal.is_terminal:
            _Console(machine, terminal).run()
        else:
            _script(machine, terminal)


def _boot(machine: Machine, terminal: Terminal) -> None:
    begun = b""

    def show(data: bytes) -> None:
        """Show all but the request for the cursor position, which may come in pieces."""
        nonlocal begun
        data = (begun + data).replace(ASKS_CURSOR, b"")
        begun = match[0] if (match := MAY_ASK.search(data)) else b""
        terminal.show(data.removesuffix(begun))

    machine.console.on_text = show
    machine.boot()


def break_in(machine: Machine) -> None:
    """Enter kdb by sysrq-g: BREAK, then `g`."""
    machine.send_break()
    os.write(machine.serial, b"g")


class _Console:
    """A terminal on the serial line."""

    def __init__(self, machine: Machine, terminal: Terminal) -> None:
        self._machine = machine
        self._terminal = terminal
        self._tail = b"" if machine.hardware.waits else SHELL_PROMPT

    def run(self) -> None:
        keys = {LEAVE: lambda: True, ENTER_KDB: self._enter_kdb}
        self._terminal.carry(self._machine.serial, keys, self._look)
        self._terminal.say("")

    def _enter_kdb(self) -> bool:
        break_in(self._machine)
        return False

    def _look(self, said: bytes) -> bool:
        """Set the terminal size in the guest, at a prompt only: a serial line does not send it."""
        self._machine.require_alive()
        self._tail = (self._tail + said)[-80:]
        size = self._terminal.size
        if self._terminal.resized and self._tail.replace(ASKS_CURSOR, b"").endswith(SHELL_PROMPT):
            self._terminal.resized = False
            if size is not None:
                os.write(self._machine.serial, b"stty rows %d cols %d\r" % size)
        return False


def _script(machine: Machine, terminal: Terminal) -> None:
    with os.fdopen(os.dup(0), "rb") as lines:
        for line in lines:
            machine.console.send(line.rstrip(b"\r\n") + b"\r")
            _await_prompt(machine)
    terminal.say("")


def _await_prompt(machine: Machine) -> None:
    try:
        while machine.console.expect(PROMPT, "prompt", Deadline.after(PATIENCE))["more"]:
            machine.console.send(b" ")
    except SilenceError as error:
        raise MachineryError(f"the guest: {error}") from error
