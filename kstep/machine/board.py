# SPDX-License-Identifier: GPL-2.0-only
"""A machine that is not ours: on a serial port, on TCP, or behind a program that has its line.

It boots a kernel of kstep's by its own means, with kstep's guest in it. There is only the
line: memory is read through kdb, and what only QEMU can give is not there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
import tty
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import serial
from ptyprocess import PtyProcess

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Signature
from kstep.console.console import Console, SilenceError
from kstep.console.kdb import Kdb
from kstep.console.shell import Command
from kstep.machine.hardware import Hardware
from kstep.machine.qemu import UP_OR_DOWN, Machine
from kstep.machine.qmp import UnmappedError
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kstep.build.kernel import Kernel
    from kstep.results.transcript import Transcript
    from kstep.session.session import Session
    from kstep.toolchain import Toolchain

BAUD = 115200
FORM = re.compile(
    r"serial:(?P<device>/[^@]+)(?:@(?P<baud>\d+))?"
    r"|tcp:(?P<host>[^:]+):(?P<port>\d+)"
    r"|exec:(?P<program>(?s:\s*\S.*))"
    r"|labgrid:(?P<place>[^\s-]\S*)"
)
FORMS = (
    "serial:/dev/ttyUSB0, serial:/dev/ttyUSB0@115200, tcp:HOST:PORT, labgrid:PLACE or"
    " exec:PROGRAM, one that shows the line on its terminal"
)
PORTS = 65535
RESET = 120.0  # seconds for the command that resets the machine
OPENS = 10.0  # seconds for the line to be there after it
SILENT = 60.0  # seconds without a word after a reset; firmware may take its time
BOOT = 300.0  # seconds for a whole boot: firmware, network, kernel
ANSWER = 10.0  # seconds within which a guest that is up answers
SCALE = 3.0  # every timeout times this: a serial port is slow, and nobody has measured the board
ASCII = 0.8  # of what is heard, at the least; below, the line's speed is not ours
CHUNK = 256  # bytes read at once: a tenth of a second at 115200 baud
NOTES = re.compile(r"^(?:[0-9a-f]{2}){16,}$", re.MULTILINE)
TEXT = re.compile(r"^(?P<address>[0-9a-f]{16}) T _text$", re.MULTILINE)
HEX = re.compile(r"^[0-9a-f]+$", re.MULTILINE)

# The kernel's build id stands in its notes, and so in its image. (Which kernel runs.)
IDENTIFY = (
    "cat /proc/version; hexdump -v -e '1/1 \"%02x\"' /sys/kernel/notes; echo;"
    ' grep " T _text$" /proc/kallsyms; echo kgdboc="$(cat /sys/module/kgdboc/parameters/kgdboc)"'
)
QEMU_LINE = "tcp:HOST:PORT,server=on,wait=off,nodelay=on"  # without nodelay 40 ms an answer
PREPARED = "write what it must boot with ./inv guest --out DIR"

# Sessions that hold kdb against what QEMU reads of the memory, have QEMU send and see, or want a
# machine of their own.
NEEDS_QEMU = {
    "gdbstub-step": "it speaks with QEMU's own gdbstub",
    "kdb-commands": "it holds what kdb says against memory that QEMU reads",
    "kdb-entry": "it sends BREAK and reads memory by QEMU's monitor",
    "kdb-lockdown": "it locks the kernel down, for which there is no way back",
    "kdb-panic": "it resets the machine, which QEMU's monitor must see",
    "kdb-restricted": "it looks at memory that kdb may not show then",
}


class Port(Protocol):
    """An open serial line."""

    def fileno(self) -> int:
        """Return what is read from and written to."""

    def close(self) -> None:
        """Let go of the line."""

    def send_break(self) -> None:
        """Send a BREAK; MachineryError where there is no way to."""


class ProgramPort:
    """A program that shows the line on its terminal, such as a lab's console."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._child = PtyProcess.spawn(list(argv), preexec_fn=_raw)

    def fileno(self) -> int:
        """Return our end of the program's terminal."""
        return int(self._child.fd)

    def close(self) -> None:
        """Hang up, and end the program where that does not."""
        self._child.close(force=True)

    def send_break(self) -> None:
        """Nothing says how this program would."""
        raise MachineryError("a program has the line, and how it sends BREAK is not known")


def _raw() -> None:
    """Have the terminal of a program pass every byte on as it is."""
    tty.setraw(0)


@dataclass(frozen=True)
class Line:
    """Where the machine's serial line is, and the command that resets it; empty for none.

    ``program`` is what has the line, where one does; else ``url`` says where to open it.
    """

    spec: str
    url: str
    baud: int
    reset: str
    program: tuple[str, ...] = ()

    @classmethod
    def parse(cls, spec: str, reset: str) -> Line:
        """Read one of FORMS; RequestError for all else."""
        match = FORM.fullmatch(spec)
        if match is None or not 0 < int(match["port"] or 1) <= PORTS:
            raise RequestError(f"--machine {spec}: it is {FORMS}")
        baud = int(match["baud"] or BAUD)
        if place := match["place"]:
            client = ("labgrid-client", "-p", place)
            return cls(
                spec,
                "",
                baud,
                reset or shlex.join([*client, "power", "cycle"]),
                (*client, "console"),
            )
        if match["program"]:
            try:
                return cls(spec, "", baud, reset, tuple(shlex.split(match["program"])))
            except ValueError as error:
                raise RequestError(f"--machine {spec}: {error}; mend the quoting") from None
        if match["device"]:
            return cls(spec, match["device"], baud, reset)
        return cls(spec, f"socket://{match['host']}:{match['port']}", baud, reset)

    def open(self) -> Port:
        """Open the line; RequestError says what is wrong with it, and the mend."""
        try:
            if self.program:
                return ProgramPort(self.program)
            if self.url.startswith("/"):
                return serial.Serial(self.url, self.baud, exclusive=True)
            return serial.serial_for_url(self.url)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise RequestError(f"--machine {self.spec}: {_why(error)}") from error

    def require(self) -> None:
        """Raise RequestError where the line cannot be opened and no reset would bring it."""
        if self.program and not shutil.which(self.program[0]):
            raise RequestError(f"--machine {self.spec}: there is no program {self.program[0]}")
        if not self.reset:
            self.open().close()

    def send_reset(self) -> None:
        """Run the command that resets the machine; MachineryError where it fails."""
        what = f"--reset {self.reset!r}"
        try:
            done = subprocess.run(
                ["sh", "-c", self.reset],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=RESET,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MachineryError(f"{what} has not ended after {RESET:g} s") from None
        if done.returncode:
            said = tuple((done.stdout + done.stderr).strip().splitlines()[-5:])
            raise MachineryError(f"{what} ended with status {done.returncode}", details=said)


def _why(error: Exception) -> str:
    text = str(error)
    for known, mend in (
        ("No such file", "there is no such device; is it plugged in?"),
        ("Permission denied", "you may not open it; on Debian, be in the group dialout"),
        ("exclusively lock", "another program has it; end that (fuser names it)"),
        ("busy", "another program has it; end that (fuser names it)"),
        ("refused", f"nobody listens there; for QEMU: -serial {QEMU_LINE}"),
        ("Inappropriate ioctl", "it is no serial port"),
        ("Name or service", "no host has this name"),
        ("Temporary failure", "no host has this name"),
    ):
        if known in text:
            return mend
    return text.splitlines()[0] if text else type(error).__name__


def lacks(session: Session, case: str | None) -> str | None:
    """Say why a case cannot be run on a machine that is not ours; None where it can."""
    if session.name in NEEDS_QEMU:
        return NEEDS_QEMU[session.name]
    hardware, ours = session.hardware_for(case), Hardware()
    if hardware.cpus != ours.cpus:
        return f"it asks for {hardware.cpus} processors, which kstep sets for QEMU alone"
    if hardware.cpu != ours.cpu:
        return f"it asks for a {hardware.cpu}"
    if hardware.el2:
        return "it asks for a kernel at EL2"
    if hardware != ours:
        return f"it asks for more on the kernel's command line: {hardware.parameters}"
    return None


class Board(Machine):
    """One use of a machine that is not ours: reset where that can be had, and spoken to.

    It must run ``kernel`` with kstep's guest.
    """

    chunk = CHUNK

    def __init__(
        self, line: Line, kernel: Kernel, initramfs: Path, hardware: Hardware, toolchain: Toolchain
    ) -> None:
        super().__init__(kernel, initramfs, hardware, toolchain, Accel.TCG)
        self.line = line
        self.scale = SCALE

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.line.reset:
                self.line.send_reset()
            self._port = self._open()
            stack.callback(self._port.close)
            self.serial = self._port.fileno()
            os.set_blocking(self.serial, True)
            self.console = Console(self.serial, self.require_alive)
            self._stack = stack.pop_all()
        return self

    def _open(self) -> Port:
        deadline = Deadline.after(OPENS if self.line.reset else 0.0)
        while True:
            try:
                return self.line.open()
            except RequestError as error:
                if not deadline.left:
                    raise MachineryError(str(error), Signature.CONSOLE_LOST) from error
                time.sleep(0.1)  # nothing tells when a port is there

    def boot(self, transcript: Transcript | None = None) -> None:
        """Wait until the guest takes commands, and see that it is the kernel that was named."""
        self.console.transcript = transcript
        if self.line.reset:
            self._await_ready()
        self._identify()
        self.boot_seconds = time.monotonic() - self.began

    def _await_ready(self) -> None:
        deadline, heard = Deadline.after(BOOT), 0
        while True:
            try:
                match = self.console.expect(
                    UP_OR_DOWN, "word that the guest is ready", Deadline.after(SILENT)
                )
            except SilenceError as error:
                if len(error.heard) > heard and deadline.left:
                    heard = len(error.heard)
                    continue
                raise self._silent(error) from error
            if match["down"]:
                raise MachineryError(
                    f"{self.line.spec}: the boot ends in the debugger or a panic",
                    Signature.NO_BOOT,
                    _last(match.string),
                )
            return

    def _identify(self) -> None:
        """Ask the guest which kernel it runs; raises MachineryError where it is another."""
        command = Command(IDENTIFY, 0)
        if not self.line.reset:  # who had the line before may have left it in kdb, or amid a line
            self.console.send(b"go\r\n")
        self.console.send(command.line)
        try:
            match = self.console.expect(
                re.compile(command.end), "answer of a shell", Deadline.after(ANSWER * SCALE)
            )
        except SilenceError as error:
            raise self._silent(error) from error
        said = command.answer(match).text
        notes, text = NOTES.search(said), TEXT.search(said)
        release = next((x for x in said.splitlines() if x.startswith("Linux version")), "nothing")
        wrong = None
        if notes is None or text is None:
            wrong = f"the guest cannot say which kernel it runs; {PREPARED}"
        elif bytes.fromhex(notes[0]) not in self.kernel.image.read_bytes():
            wrong = f"the guest runs another kernel than {self.kernel.image}; {PREPARED}"
        elif f"{text['address']} T _text" not in self.kernel.system_map.read_text():
            wrong = "the kernel is not where it was linked; put nokaslr on its command line"
        elif "kgdboc=\n" in said:
            wrong = "kgdb has no line; put kgdboc=TTY on the kernel's command line"
        if wrong:
            raise MachineryError(
                f"{self.line.spec}: {wrong}", Signature.NO_BOOT, (f"it says: {release}",)
            )

    def _silent(self, error: SilenceError) -> MachineryError:
        heard = error.heard
        readable = sum(byte in b"\r\n\t\x1b" or 32 <= byte < 127 for byte in heard)  # noqa: PLR2004 -- ASCII
        if not heard:
            mend = (
                "it is silent: is it on, is the cable right, is this line its console= and kgdboc=?"
            )
        elif readable < ASCII * len(heard):
            mend = f"it says what is no text: is its speed {self.line.baud} baud?"
        else:
            mend = f"no shell of kstep's guest answers: {PREPARED}"
        return MachineryError(f"{self.line.spec}: {error}; {mend}", Signature.NO_BOOT, _last(heard))

    def require_alive(self) -> None:
        """Nobody can tell; a lost line says so when it is read."""

    def send_break(self) -> None:
        """Send a BREAK, which a serial port can and a TCP connection cannot."""
        if self.line.url.startswith("socket:"):
            raise MachineryError(f"{self.line.spec}: there is no BREAK over TCP")
        self._port.send_break()

    def read(self, address: int, size: int) -> bytes:
        """Read memory through kdb (``mdr``), at whose prompt the kernel must be."""
        text = Kdb(self.console, self.scale).command(f"mdr {address:#x} {size}")
        match = HEX.search(text)
        if match is None or "Bad address" in text or len(match[0]) != 2 * size:
            raise UnmappedError(f"kdb cannot read {size} bytes at {address:#x}: {text.strip()}")
        return bytes.fromhex(match[0])

    def read_physical(self, address: int, size: int) -> bytes:
        """Nothing here can."""
        raise MachineryError(f"{self.line.spec}: {size} bytes at {address:#x} need QEMU's monitor")


def _last(heard: bytes) -> tuple[str, ...]:
    lines = heard.decode(errors="replace").replace("\r", "").splitlines()
    return tuple("".join(c if c.isprintable() else "." for c in line) for line in lines[-5:])
