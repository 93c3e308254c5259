# SPDX-License-Identifier: GPL-2.0-only
"""A machine that is not ours: on a serial port, on TCP, or behind a program that has its line.

It boots a kernel of kstep's by its own means, with kstep's guest in it. There is only the
line: memory is read through kdb, and what only QEMU can give is not there (``Line.offer``).
"""

from __future__ import annotations

import os
import re
import time
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Self

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Signature
from kstep.console import shell
from kstep.console.console import Console, SilenceError
from kstep.console.kdb import PROMPT, CommandRefusedError, Kdb
from kstep.console.message import MESSAGE_LINE
from kstep.console.shell import Command
from kstep.machine.boot import UP_OR_DOWN, await_up
from kstep.machine.capability import Capability
from kstep.machine.interface import Machine, UnmappedError

if TYPE_CHECKING:
    from kstep.build.kernel import Kernel
    from kstep.machine.capability import Offer
    from kstep.machine.hardware import Hardware
    from kstep.machine.line import Line, Port
    from kstep.results.transcript import Transcript
    from kstep.toolchain import Toolchain

OPENS = 10.0  # seconds for the line to be there after a reset
SILENT = 60.0  # seconds without a word after a reset; firmware may take its time
BOOT = 300.0  # seconds for a whole boot: firmware, network, kernel
ANSWER = 10.0  # seconds within which a guest that is up answers
SCALE = 3.0  # every timeout times this: a serial port is slow, and nobody has measured the board
ASCII = 0.8  # of what is heard, at the least; below, the line's speed is not ours
ASKED = 8  # times that a guest is asked which kernel it runs, until it says the same twice
CHUNK = 256  # bytes read at once: a tenth of a second at 115200 baud, and seldom damaged
NOTES = re.compile(r"^(?:[0-9a-f]{2}){16,}$", re.MULTILINE)
TEXT = re.compile(r"^(?P<address>[0-9a-f]{16}) T _text$", re.MULTILINE)
# A terminal that draws its line anew, so that a shell is there: its first word may be lost.
ANSWERS = rb"(?P<answers>\^R\r?\n)"
KERNEL = re.compile(MESSAGE_LINE)

# The kernel's build id stands in its notes, and so in its image. (Which kernel runs.)
IDENTIFY = (
    "cat /proc/version",
    "hexdump -v -e '1/1 \"%02x\"' /sys/kernel/notes; echo",
    'grep " T _text$" /proc/kallsyms',
    'echo kgdboc="$(cat /sys/module/kgdboc/parameters/kgdboc)"',
)
PREPARED = "write what it must boot with ./inv guest --out DIR"


class Board(Machine):
    """One use of a machine that is not ours: reset where that can be had, and spoken to.

    It must run ``kernel`` with kstep's guest.
    """

    chunk = CHUNK

    def __init__(
        self, line: Line, kernel: Kernel, hardware: Hardware, toolchain: Toolchain
    ) -> None:
        super().__init__(kernel, hardware, toolchain)
        self.line = line
        self.scale = SCALE

    @property
    def offer(self) -> Offer:
        """What its line lets it do."""
        return self.line.offer

    @property
    def longest_boot(self) -> float:
        """Seconds for firmware, network and kernel."""
        return BOOT

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.line.reset:
                self.line.send_reset()
            self._port = self._open()
            stack.callback(self._port.close)
            self.serial = self._port.fileno()
            os.set_blocking(self.serial, True)
            self.console = Console(
                self.serial, self.require_alive, trusted=False, delay=self.line.delay
            )
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
        pattern = re.compile(UP_OR_DOWN.pattern + rb"|" + ANSWERS)
        try:
            await_up(
                self.console,
                pattern,
                SILENT,
                Deadline.after(self.longest_boot),
                ask=self._ask_for_shell,
            )
        except MachineryError as error:
            if isinstance(error.__cause__, SilenceError):
                raise self._silent(error.__cause__) from error
            raise MachineryError(
                f"{self.line.spec}: {error}",
                error.signature,
                error.details,
            ) from error

    def _ask_for_shell(self) -> None:
        """Ask whether the guest's first word was lost; a boot loader must not hear of it."""
        if KERNEL.search(self.console.heard):
            self.console.awaits_enter(b"", shell.EDITOR)

    def _identify(self) -> None:
        """Ask the guest which kernel it runs; raises MachineryError where it is another.

        It is asked again if what it says is not what it must be, for the line may have lost some.
        """
        if not self.line.reset:  # who had the line before may have left it in kdb, or amid a line
            self.console.send(b"go\r\n")
        said: list[str] = []
        numbers = count()
        while True:
            commands = [Command(each, next(numbers), keeps=True) for each in IDENTIFY]
            said.append("".join(map(self._asked, commands)))
            wrong = self._wrong(said[-1])
            if not wrong:
                return
            if said[-1] in said[:-1]:
                break
            if len(said) == ASKED:
                raise MachineryError(
                    f"{self.line.spec}: asked {ASKED} times which kernel it runs, the guest never"
                    " said the same twice",
                    Signature.CONSOLE_LOST,
                )
        release = next(
            (x for x in said[-1].splitlines() if x.startswith("Linux version")), "nothing"
        )
        raise MachineryError(
            f"{self.line.spec}: {wrong}", Signature.NO_BOOT, (f"it says: {release}",)
        )

    def _asked(self, command: Command) -> str:
        deadline = Deadline.after(ANSWER * SCALE)

        looks = 0

        def again() -> None:
            nonlocal looks
            if self.console.awaits_enter(command.again, shell.EDITOR) is not None:
                looks += 1
                if looks > 1:  # it may only be slow
                    self.console.type(command.again, shell.EDITOR, deadline, harmless=True)

        try:
            self.console.awaits_enter(b"", shell.EDITOR)
            self.console.forget()
            self.console.type(command.line, shell.EDITOR, deadline)
            match = self.console.expect(
                re.compile(command.end), "answer of a shell", deadline, again
            )
            shell.hear_out(self.console, asked_again=looks > 1)
        except SilenceError as error:
            raise self._silent(error) from error
        return command.answer(match).text

    def _wrong(self, said: str) -> str:
        """Say what is wrong with a guest that says which kernel it runs; "" for nothing."""
        notes, text = NOTES.search(said), TEXT.search(said)
        if notes is None or text is None:
            return f"the guest cannot say which kernel it runs; {PREPARED}"
        if bytes.fromhex(notes[0]) not in self.kernel.image.read_bytes():
            return f"the guest runs another kernel than {self.kernel.image}; {PREPARED}"
        if f"{text['address']} T _text" not in self.kernel.system_map.read_text():
            return "the kernel is not where it was linked; put nokaslr on its command line"
        if "kgdboc=\n" in said:
            return "kgdb has no line; put kgdboc=TTY on the kernel's command line"
        return ""

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
        """Send a BREAK, which a serial port can and others cannot."""
        if Capability.BREAK not in self.offer.capabilities:
            raise self._cannot(Capability.BREAK)
        self._port.send_break()

    def read(self, address: int, size: int) -> bytes:
        """Read memory through kdb (``mdr``), at whose prompt the kernel must be.

        Raises MachineryError if it is not: anybody else who has the line would not take what
        is typed for a command, and the kernel would be blamed for the silence.
        """
        prompt = PROMPT.search(self.console.unanswered)
        if prompt is None or not prompt["kind"].startswith(b"kdb"):
            raise MachineryError(
                f"{self.line.spec}: kdb reads the memory of this machine, and does not have the"
                f" line now: {size} bytes at {address:#x} are not read"
            )
        return b"".join(
            self._read(at, min(CHUNK, address + size - at))
            for at in range(address, address + size, CHUNK)
        )

    def _read(self, address: int, size: int) -> bytes:
        try:
            found = Kdb(self.console, self.scale).read(address, size)
        except CommandRefusedError as error:
            raise MachineryError(f"{self.line.spec}: memory is not read: {error}") from error
        if found is None:
            raise UnmappedError(f"kdb cannot read {size} bytes at {address:#x}")
        return found


def _last(heard: bytes) -> tuple[str, ...]:
    lines = heard.decode(errors="replace").replace("\r", "").splitlines()
    return tuple("".join(c if c.isprintable() else "." for c in line) for line in lines[-5:])
