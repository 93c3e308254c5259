# SPDX-License-Identifier: GPL-2.0-only
"""A relay on the serial line: gdb's packets to gdb, the guest's text to the console.

kgdb has one line for both. While the kernel is stopped it speaks gdb's remote protocol
there; while it runs, the guest's shell and the kernel's messages are on it. gdb would
take a ``$`` among them for the beginning of a packet; so what is no packet stays here.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.base.pty import Pty

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from kstep.console.console import Console

CHUNK = 1 << 16  # bytes a read
LOOK = 0.01  # seconds between two looks at whether the thread has ended
BACK_TO_KDB = b"$3#33"  # gdb_serial_stub() in kernel/debug/gdbstub.c
BREAK_IN = b"\x03"  # what gdb sends for Ctrl-C
PACKET = re.compile(rb"\$(?P<body>[^$#]*)#[0-9a-f]{2}")
BEGUN = re.compile(rb"\$[^$#]*(#[0-9a-f]?)?\Z")  # what may yet become one
BEGUN_BY_KGDB = re.compile(rb"\$[^$#\r\n]*(#[0-9a-f]?)?\Z")  # it sends text as hex
RESUMES = re.compile(rb"[cCsSDkR]|vCont|vKill")  # gdb's packets after which the kernel runs
STOPPED = re.compile(rb"[TSWX][0-9a-f]{2}")  # kgdb's that say it does not


def packet(body: bytes) -> bytes:
    """Return a packet of the protocol: its body and the sum of its bytes."""
    return b"$%b#%02x" % (body, sum(body) & 0xFF)


@dataclass
class Sieve:
    """Tells packets from text in what one side says; keeps back what may become a packet."""

    begun: re.Pattern[bytes] = BEGUN
    rest: bytes = b""

    def pieces(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Take the next bytes; return whole packets (True) and the text between them."""
        data = self.rest + data
        begun = self.begun.search(data)
        end = begun.start() if begun else len(data)
        self.rest = data[end:]
        found: list[tuple[bool, bytes]] = []
        at = 0
        for match in PACKET.finditer(data, 0, end):
            if packet(match["body"]) != match[0]:
                continue
            found += [(False, data[at : match.start()]), (True, match[0])]
            at = match.end()
        found.append((False, data[at:end]))
        return [each for each in found if each[1]]


@dataclass
class Traffic:
    """What of the line is gdb's: the state of its conversation with kgdb.

    ``owed`` counts packets of gdb's that the kernel has not acknowledged.
    """

    running: bool = False
    owed: int = 0
    fault: str = ""
    to_gdb: Sieve = field(default_factory=lambda: Sieve(BEGUN_BY_KGDB))
    to_kernel: Sieve = field(default_factory=Sieve)

    def from_gdb(self, data: bytes) -> None:
        """Take note of what gdb sends."""
        for is_packet, piece in self.to_kernel.pieces(data):
            if is_packet:
                self.owed += 1
                self.running = RESUMES.match(piece, 1) is not None
            elif b"-" in piece:
                self.fault = "gdb asks kgdb to say a packet again"
            elif piece.strip(b"+" + BREAK_IN):
                self.fault = f"gdb's side says {piece!r}, which is no packet"

    def from_kernel(self, data: bytes) -> tuple[bytes, bytes]:
        """Divide what the kernel says: for gdb, and for the console."""
        gdb, text = b"", b""
        for is_packet, piece in self.to_gdb.pieces(data):
            if is_packet:
                gdb += piece
                if STOPPED.match(piece, 1):
                    self.running = False
            else:
                marks = min(self.owed, len(piece) - len(piece.lstrip(b"+-")))
                self.owed -= marks
                gdb += piece[:marks]
                text += piece[marks:]
                if b"-" in piece[:marks]:
                    self.fault = "kgdb asks gdb to say a packet again"
        return gdb, text


class Relay(AbstractContextManager["Relay"]):
    """Between a serial line, gdb at ``pty``, and the console that had the line before.

    The console goes on as if it still had it; the transcript has all that passes.
    ``break_in`` is called for gdb's Ctrl-C, which kgdb on a serial line does not know.
    """

    def __init__(
        self, serial: int, console: Console, break_in: Callable[[], None] = lambda: None
    ) -> None:
        self._serial = serial
        self._console = console
        self._break_in = break_in
        self._transcript = console.transcript
        self._traffic = Traffic()
        self._lost: BaseException | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            line = Pty.open(stack)
            self._gdb, self.pty = line.near, line.path
            self._ours, self._text = socket.socketpair()
            stack.callback(self._ours.close)
            stack.callback(self._text.close)
            stack.enter_context(self._console.through(self._ours.fileno()))
            self._thread = threading.Thread(target=self._carry, name="relay", daemon=True)
            self._thread.start()
            stack.callback(self._end)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None and self._lost is None:  # the guest may have said more
                self._ours.shutdown(socket.SHUT_WR)
                while self._thread.is_alive():  # it waits for us where that is very much
                    self._console.catch_up()
                    self._thread.join(LOOK)
                self._console.catch_up()
        finally:
            self._stack.close()

    def _end(self) -> None:
        """End the thread, whatever it had still to pass on."""
        self._ours.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    @property
    def running(self) -> bool:
        """Whether gdb has let the kernel run and it has not stopped since."""
        return self._traffic.running

    def require_sound(self) -> None:
        """Raise MachineryError where the line is lost, or gdb and kgdb do not understand."""
        if self._lost is not None:
            raise MachineryError(f"the relay to gdb ended: {self._lost}", Signature.CONSOLE_LOST)
        if self._traffic.fault:
            raise MachineryError(
                f"gdb and kgdb are out of step: {self._traffic.fault}", Signature.CONSOLE_LOST
            )

    def _carry(self) -> None:
        poll = select.poll()
        for fd in (self._serial, self._gdb, self._text.fileno()):
            poll.register(fd, select.POLLIN)
        try:
            while True:
                for fd, _ in poll.poll():
                    data = os.read(fd, CHUNK)
                    if fd == self._text.fileno() and not data:
                        return
                    self._pass_on(fd, data)
        except Exception as error:  # noqa: BLE001 -- told to whoever waits, on the other thread
            self._lost = error
            with contextlib.suppress(OSError):
                self._text.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, fd: int, data: bytes) -> None:
        if fd == self._serial:
            self._note("<", data)
            gdb, text = self._traffic.from_kernel(data)
            _write(self._gdb, gdb)
            _write(self._text.fileno(), text)
            return
        if fd == self._gdb:
            if self.running and data.startswith(BREAK_IN):
                self._break_in()
                data = data.removeprefix(BREAK_IN)
            self._traffic.from_gdb(data)
        self._note(">", data)
        _write(self._serial, data)

    def _note(self, direction: str, data: bytes) -> None:
        if self._transcript is not None:
            self._transcript.add(direction, data)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
