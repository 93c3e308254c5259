# SPDX-License-Identifier: GPL-2.0-only
"""An external machine: a board, or a VM that kstep did not start, at a serial line.

Its user boots kstep's kernel and guest on it. There is only the serial line: memory is read
through kdb, and capabilities that only QEMU has are missing (``Line.offer``).
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
from kstep.build import system_map
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

OPENS = 10.0  # seconds until the line exists after a reset
SILENT = 60.0  # seconds without output after a reset; firmware may be slow
BOOT = 300.0  # seconds for a whole boot: firmware, network, kernel
ANSWER = 10.0  # seconds within which a guest that is up answers
SCALE = 3.0  # factor for every timeout: a serial port is slow, and the board was not measured
ASCII = 0.8  # least part of the output; with less, the baud rate is wrong
ASKED = 8  # times that the guest is asked which kernel it runs, until two answers agree
CHUNK = 256  # bytes read at once: a tenth of a second at 115200 baud, and seldom damaged
NOTES = re.compile(r"^(?:[0-9a-f]{2}){16,}$", re.MULTILINE)
TEXT = re.compile(r"^(?P<address>[0-9a-f]{16}) T _text$", re.MULTILINE)
# A terminal that redraws its line, so a shell is there: the first word may be lost.
ANSWERS = rb"(?P<answers>\^R\r?\n)"
KERNEL = re.compile(MESSAGE_LINE)

# The kernel's build id, which identifies it, is in its notes and in its image.
IDENTIFY = (
    "cat /proc/version",
    "hexdump -v -e '1/1 \"%02x\"' /sys/kernel/notes; echo",
    'grep " T _text$" /proc/kallsyms',
    'echo kgdboc="$(cat /sys/module/kgdboc/parameters/kgdboc)"',
)
PREPARED = "./inv guest --out DIR writes the files that it must boot"


class Board(Machine):
    """One use of an external machine, which is reset first if ``line`` has a command for that.

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
        """The capabilities of its line."""
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
                time.sleep(0.1)  # there is no event when a port appears

    def boot(self, transcript: Transcript | None = None) -> None:
        """Wait until the guest accepts commands, and check that it runs the right kernel."""
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
        """Ask the guest which kernel it runs; raises MachineryError if it is another.

        Asks again after a wrong answer, since the serial line may have damaged it.
        """
        if not self.line.reset:  # the last user may have left it in kdb, or in the middle of a line
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
                    f"{self.line.spec}: asked {ASKED} times which kernel it runs, no two"
                    " answers of the guest agree",
                    Signature.CONSOLE_LOST,
                )
        release = next(
            (x for x in said[-1].splitlines() if x.startswith("Linux version")), "nothing"
        )
        raise MachineryError(
            f"{self.line.spec}: {wrong}", Signature.NO_BOOT, (f"it reports: {release}",)
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
            if looks:  # a terminal is there; its line may have lost the answer
                raise MachineryError(
                    f"{self.line.spec}: {error} to {command.text!r}, but a terminal answers; if it"
                    f" is not kstep's guest, {PREPARED}",
                    Signature.CONSOLE_LOST,
                    _last(error.heard),
                ) from error
            raise self._silent(error) from error
        return command.answer(match).text

    def _wrong(self, said: str) -> str:
        """Return what is wrong with a guest that reports its kernel; "" if nothing is."""
        notes, text = NOTES.search(said), TEXT.search(said)
        if notes is None or text is None:
            return f"the guest cannot say which kernel it runs; {PREPARED}"
        if bytes.fromhex(notes[0]) not in self.kernel.image.read_bytes():
            return f"the guest runs another kernel than {self.kernel.image}; {PREPARED}"
        if int(text["address"], 16) != system_map.find(self.kernel.system_map, "_text"):
            return "the kernel does not run at its link address; add nokaslr to its command line"
        if "kgdboc=\n" in said:
            return "kgdb has no serial line; add kgdboc=TTY to the kernel's command line"
        return ""

    def _silent(self, error: SilenceError) -> MachineryError:
        heard = error.heard
        readable = sum(byte in b"\r\n\t\x1b" or 32 <= byte < 127 for byte in heard)  # noqa: PLR2004 -- ASCII
        if not heard:
            fix = (
                "it is silent: is it on, is the cable right, is this line its console= and kgdboc=?"
            )
        elif readable < ASCII * len(heard):
            fix = f"its output is not text: is its speed {self.line.baud} baud?"
        else:
            fix = f"no shell of kstep's guest answers: {PREPARED}"
        return MachineryError(f"{self.line.spec}: {error}; {fix}", Signature.NO_BOOT, _last(heard))

    def require_alive(self) -> None:
        """Do nothing: only reading a lost line shows that it is lost."""

    def send_break(self) -> None:
        """Send a BREAK; only a serial port can."""
        if Capability.BREAK not in self.offer.capabilities:
            raise self._cannot(Capability.BREAK)
        self._port.send_break()

    def read(self, address: int, size: int) -> bytes:
        """Read memory through kdb (``mdr``); the kernel must be at kdb's prompt.

        Raises MachineryError if it is not: nothing else on the line would execute the command,
        and the kernel would be blamed for the silence.
        """
        prompt = PROMPT.search(self.console.unanswered)
        if prompt is None or not prompt["kind"].startswith(b"kdb"):
            raise MachineryError(
                f"{self.line.spec}: cannot read {size} bytes at {address:#x}: only kdb can read the"
                " memory of this machine, and it does not have the serial line now"
            )
        return b"".join(
            self._read(at, min(CHUNK, address + size - at))
            for at in range(address, address + size, CHUNK)
        )

    def _read(self, address: int, size: int) -> bytes:
        try:
            found = Kdb(self.console, self.scale).read(address, size)
        except CommandRefusedError as error:
            raise MachineryError(f"{self.line.spec}: cannot read memory: {error}") from error
        if found is None:
            raise UnmappedError(f"kdb cannot read {size} bytes at {address:#x}")
        return found


def _last(heard: bytes) -> tuple[str, ...]:
    lines = heard.decode(errors="replace").replace("\r", "").splitlines()
    return tuple("".join(c if c.isprintable() else "." for c in line) for line in lines[-5:])
