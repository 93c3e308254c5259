# SPDX-License-Identifier: GPL-2.0-only
"""A booted machine in the user's hands: its console, or gdb on its kernel."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import termios
from collections import deque
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.pty import Pty
from kstep.build.kernel import Kernel
from kstep.console.console import SilenceError
from kstep.console.gdb import SETTINGS
from kstep.console.relay import Relay
from kstep.hand.terminal import Terminal
from kstep.image.debuginfo import source_folder
from kstep.image.symbols import Symbols
from kstep.machine.hardware import Hardware
from kstep.machine.qemu import QemuMachine
from kstep.session.target import Target

if TYPE_CHECKING:
    from types import TracebackType

    from kstep.machine.interface import Machine
    from kstep.run.preparation import Prepared
    from kstep.toolchain import Process

LEAVE, ENTER_KDB = b"\x1d", b"\x1c"  # Ctrl-] and Ctrl-\
SHELL_PROMPT = b"guest# "  # tests/guest/init.c
ASKS_CURSOR = b"\x1b[6n"  # what busybox's shell asks a terminal behind its prompt
MAY_ASK = re.compile(rb"\x1b(\[6?)?\Z")
PROMPT = re.compile(rb"(?P<prompt>guest# |(?:\[\d+\])?(?:kdb|(?P<more>more))> )(?:\x1b\[6n)?\Z")
PATIENCE = 3600.0  # seconds for a command of a script


def shell(prepared: Prepared) -> None:
    """Give the user the console of the one kernel that was prepared, until they leave it.

    Where input is no terminal, its lines are typed one by one, each when the shell or kdb
    prompts; the machine ends after the last.
    """
    built = prepared.built[0]
    hardware = Hardware(parameters="kstep.shell=interactive")
    with Terminal() as terminal, _machine(prepared, hardware) as machine:
        if terminal.is_terminal:
            terminal.say(
                f"kernel {built.first}: Ctrl-] leaves and ends the machine;"
                " Ctrl-\\ enters kdb, `go` leaves it"
            )
            _boot(machine, terminal)
            _await_prompt(machine)
            _Console(machine, terminal).run()
        else:
            _boot(machine, terminal)
            _script(machine, terminal)


def _machine(prepared: Prepared, hardware: Hardware) -> Machine:
    kernel = prepared.built[0].kernel
    if not isinstance(kernel, Kernel):
        raise kernel
    return QemuMachine(
        kernel, prepared.initramfs.path, hardware, prepared.toolchain, prepared.accel
    )


def _boot(machine: Machine, terminal: Terminal) -> None:
    begun = b""

    def show(data: bytes) -> None:
        """Show all but the question where the cursor is, which comes in pieces."""
        nonlocal begun
        data = (begun + data).replace(ASKS_CURSOR, b"")
        begun = match[0] if (match := MAY_ASK.search(data)) else b""
        terminal.show(data.removesuffix(begun))

    machine.console.on_text = show
    machine.boot()


def _break_in(machine: Machine) -> None:
    machine.send_break()
    os.write(machine.serial, b"g")


class _Console:
    """A terminal on the serial line."""

    def __init__(self, machine: Machine, terminal: Terminal) -> None:
        self._machine = machine
        self._terminal = terminal
        self._tail = SHELL_PROMPT

    def run(self) -> None:
        keys = {LEAVE: lambda: True, ENTER_KDB: self._enter_kdb}
        self._terminal.carry(self._machine.serial, keys, self._look)
        self._terminal.say("")

    def _enter_kdb(self) -> bool:
        _break_in(self._machine)
        return False

    def _look(self, said: bytes) -> bool:
        """Tell the guest the terminal's size, which a serial line does not: at a prompt only."""
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
        _await_prompt(machine)
        for line in lines:
            machine.console.send(line.rstrip(b"\r\n") + b"\r")
            _await_prompt(machine)
    terminal.say("")


def _await_prompt(machine: Machine) -> None:
    try:
        while machine.console.expect(PROMPT, "prompt", Deadline.after(PATIENCE))["more"]:
            machine.console.send(b" ")
    except SilenceError as error:
        raise MachineryError(f"the guest gives {error}") from error


def write(prepared: Prepared, folder: Path) -> None:
    """Write ``folder``, new: the one kernel, the guest and the command line for it to boot."""
    kernel = prepared.built[0].kernel
    if not isinstance(kernel, Kernel):
        raise kernel
    folder.mkdir(parents=True)
    shutil.copyfile(kernel.image, folder / "Image")
    shutil.copyfile(prepared.initramfs.path, folder / "initramfs.cpio.gz")
    (folder / "cmdline").write_text("console=ttyAMA0 kgdboc=ttyAMA0 nokaslr\n")


# -- gdb

# Commands for the guest's shell cannot be typed while the kernel is stopped: they wait in
# gdb's own queue, which is a line to kstep.
GUEST_COMMAND = """\
import gdb
class Guest(gdb.Command):
    "guest COMMAND: have the guest's shell run a command once the kernel runs (continue)."
    def __init__(self):
        super().__init__("guest", gdb.COMMAND_RUNNING)
    def invoke(self, command, from_tty):
        with open({line!r}, "w") as line:
            line.write(command + "\\n")
Guest()
"""


def debug(prepared: Prepared) -> None:
    """Give the user a gdb that is connected to kgdb over the serial line, the kernel stopped.

    What the guest says while it runs is shown between what gdb says. Ends the machine when
    gdb ends.
    """
    with Terminal() as terminal, _machine(prepared, Hardware()) as machine:
        machine.boot()
        target = Target(machine, Symbols.load(machine.kernel.system_map))
        target.break_in()
        target.switch_to_gdb()
        machine.console.on_text = terminal.show
        with Relay(machine.serial, machine.console, lambda: _break_in(machine)) as relay:
            terminal.say(
                f"kernel {prepared.built[0].first}, stopped: `guest COMMAND` has its shell run"
                " something at the next `continue`; Ctrl-C stops it; `quit` ends the machine"
            )
            with _Gdb(prepared, machine, relay, terminal) as gdb:
                gdb.run()


class _Gdb(AbstractContextManager["_Gdb"]):
    """gdb in the user's terminal: its own is a pty, as it may run in a container."""

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
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kstep-")))
            folder.chmod(0o755)
            lines = [screen.path, queue.path]
            script = folder / "gdb"
            script.write_text(self._script(folder, toolchain.inside(lines[1])))
            self._process: Process = toolchain.spawn(
                [
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
        """Write the variant's own files; return gdb's settings, with where the sources are."""
        built = self._prepared.built[0]
        rules = []
        compiled = source_folder(self._machine.kernel, self._prepared.toolchain)
        for name, content in built.variants[0][1].files.items():
            if content is not None:
                own = folder / "source" / name
                own.parent.mkdir(parents=True, exist_ok=True)
                own.write_bytes(content)
                os.utime(own, (0, 0))  # no younger than the kernel
                rules.append(f"set substitute-path {compiled}/{name} {own}")
        return "\n".join(
            [
                *(f"set {setting}" for setting in SETTINGS if setting != "pagination off"),
                *rules,
                f"set substitute-path {compiled} {built.tree.source}",
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
        # Twice, for gdb steps over a breakpoint before it lets the kernel run.
        if self._relay.running and self._ran and self._commands:
            self._machine.console.send(self._commands.popleft())
        self._ran = self._relay.running
        return not self._process.alive()
