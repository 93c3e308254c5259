# SPDX-License-Identifier: GPL-2.0-only
"""An interactive gdb on the kernel of a booted machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import termios
from collections import deque
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kstep.base import temporary
from kstep.base.pty import Pty
from kstep.console.gdb import SETTINGS
from kstep.console.relay import Relay
from kstep.hand.shell import break_in
from kstep.hand.terminal import Terminal
from kstep.image.debuginfo import source_folder
from kstep.image.symbols import Symbols
from kstep.session.target import Target

if TYPE_CHECKING:
    from types import TracebackType

    from kstep.machine.hardware import Hardware
    from kstep.machine.interface import Machine
    from kstep.run.preparation import Prepared
    from kstep.toolchain import Process

# Commands for the guest's shell cannot be typed while the kernel is stopped: gdb writes them to
# a pty, and kstep queues them.
GUEST_COMMAND = """\
import gdb
class Guest(gdb.Command):
    "guest COMMAND: run a command in the guest's shell once the kernel runs (continue)."
    def __init__(self):
        super().__init__("guest", gdb.COMMAND_RUNNING)
    def invoke(self, command, from_tty):
        with open({line!r}, "w") as line:
            line.write(command + "\\n")
Guest()
"""


def debug(prepared: Prepared, hardware: Hardware) -> None:
    """Run an interactive gdb, connected to kgdb over the serial line, with the kernel stopped.

    The guest's output while it runs is shown among gdb's. Ends the machine when gdb ends.
    """
    built = prepared.built[0]
    with Terminal() as terminal, prepared.machine(built.require(), hardware) as machine:
        machine.boot()
        target = Target(machine, Symbols.load(machine.kernel.system_map))
        target.break_in()
        target.gdb_access.switch_to_gdb()
        machine.console.on_text = terminal.show
        with Relay(machine.serial, machine.console, lambda: break_in(machine)) as relay:
            terminal.say(
                f"kernel {built.first}, stopped: `guest COMMAND` runs a command in its shell"
                " at the next `continue`; Ctrl-C stops the kernel; `quit` ends the machine"
            )
            with _Gdb(prepared, machine, relay, terminal) as gdb:
                gdb.run()


class _Gdb(AbstractContextManager["_Gdb"]):
    """gdb in the user's terminal, through a pty, because gdb may run in a container."""

    def __init__(
        self, prepared: Prepared, machine: Machine, relay: Relay, terminal: Terminal
    ) -> None:
        self._prepared = prepared
        self._machine = machine
        self._relay = relay
        self._terminal = terminal
        self._commands: deque[bytes] = deque()
        self._ran = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            toolchain = self._prepared.toolchain
            screen, queue = Pty.open(stack, raw=False), Pty.open(stack)
            self._screen, self._queue = screen.near, queue.near
            os.set_blocking(self._queue, False)
            folder = Path(stack.enter_context(temporary.folder()))
            folder.chmod(0o755)
            lines = [screen.path, queue.path]
            script = folder / "gdb"
            script.write_text(self._script(folder, toolchain.inside(lines[1])))
            self._process: Process = toolchain.spawn(
                [
                    *("env", f"TERM={os.environ.get('TERM', 'dumb')}"),
                    *("sh", "-c", 'exec setsid -w -c gdb-multiarch "$@" <"$0" >"$0" 2>&1'),
                    str(toolchain.inside(lines[0])),
                    *("-nx", "-q", "-ix", str(script), "-ex", self._connect),
                    str(self._machine.kernel.vmlinux),
                ],
                readable=[self._machine.kernel.folder, self._prepared.trees[0].source, folder],
                lines=[*lines, self._relay.pty],
            )
            stack.callback(self._process.kill)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def _connect(self) -> str:
        return f"target remote {self._prepared.toolchain.inside(self._relay.pty)}"

    def _script(self, folder: Path, queue: Path) -> str:
        """Write the variant's own files; return gdb's settings, with the paths of the sources."""
        built = self._prepared.built[0]
        rules = []
        compiled = source_folder(self._machine.kernel, self._prepared.toolchain)
        for name, content in built.variants[0][1].files.items():
            if content is not None:
                own = folder / "source" / name
                own.parent.mkdir(parents=True, exist_ok=True)
                own.write_bytes(content)
                os.utime(own, (0, 0))  # not newer than the kernel
                rules.append(_substitute(f"{compiled}/{name}", own))
        return "\n".join(
            [
                *(f"set {setting}" for setting in SETTINGS if setting != "pagination off"),
                *rules,
                _substitute(compiled, built.tree.source),
                "python",
                GUEST_COMMAND.format(line=str(queue)) + "end",
                "",
            ]
        )

    def run(self) -> None:
        """Serve until gdb ends."""
        self._terminal.carry(self._screen, {}, self._look)

    def _look(self, _said: bytes) -> bool:
        if self._terminal.resized and (size := self._terminal.size) is not None:
            termios.tcsetwinsize(self._screen, size)
            self._terminal.resized = False
        self._machine.require_alive()
        self._relay.require_sound()
        self._machine.console.catch_up()
        with contextlib.suppress(BlockingIOError):
            self._commands.extend(os.read(self._queue, 4096).splitlines(keepends=True))
        # Twice, because gdb steps over a breakpoint before it resumes the kernel.
        if self._relay.running and self._ran and self._commands:
            self._machine.console.send(self._commands.popleft())
        self._ran = self._relay.running
        return not self._process.alive()


def _substitute(compiled: str, own: Path) -> str:
    """Redirect gdb to other sources; gdb splits a command into words as a shell does."""
    return f"set substitute-path {shlex.quote(compiled)} {shlex.quote(str(own))}"
