# SPDX-License-Identifier: GPL-2.0-only
"""A relay on the serial line: gdb's packets to gdb, the guest's text to the console.

kgdb has one line for both. While the kernel is stopped it speaks gdb's remote protocol
there; while it runs, the guest's shell and the kernel's messages use it. gdb would take a
``$`` in them for the start of a packet, so only packets are passed to it.
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
LOOK = 0.01  # seconds between two checks whether the thread has ended
BACK_TO_KDB = b"$3#33"  # gdb_serial_stub() in kernel/debug/gdbstub.c
BREAK_IN = b"\x03"  # what gdb sends for Ctrl-C
PACKET = re.compile(rb"\$(?P<body>[^$#]*)#[0-9a-f]{2}")
BEGUN = re.compile(rb"\$[^$#]*(#[0-9a-f]?)?\Z")  # may become a packet
BEGUN_BY_KGDB = re.compile(rb"\$[^$#\r\n]*(#[0-9a-f]?)?\Z")  # it sends text as hex
RESUMES = re.compile(rb"[cCsSDkR]|vCont|vKill")  # gdb's packets after which the kernel runs
STOPPED = re.compile(rb"[TSWX][0-9a-f]{2}")  # kgdb's packets that report a stop
# What a stop's packet leaves in the text if a line has damaged it: a lost "$", a wrong sum.
REMAINS = re.compile(rb"#[0-9a-f]{2}|thread:|\$[TS][0-9a-f]{2}")


def packet(body: bytes) -> bytes:
    """Return a packet of the protocol: its body and its checksum."""
    return b"$%b#%02x" % (body, sum(body) & 0xFF)


@dataclass
class Sieve:
    """Separates packets from text in what one side sends; holds back an unfinished packet."""

    begun: re.Pattern[bytes] = BEGUN
    rest: bytes = b""

    def pieces(self, data: bytes) -> list[tuple[bool, bytes]]:
        """Add the next bytes; return whole packets (True) and the text between them."""
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
    """The state of gdb's conversation with kgdb.

    ``owed`` counts gdb's packets that the kernel has not acknowledged; ``damage`` is what was
    seen of a packet that is none.
    """

    running: bool = False
    owed: int = 0
    fault: str = ""
    damage: str = ""
    to_gdb: Sieve = field(default_factory=lambda: Sieve(BEGUN_BY_KGDB))
    to_kernel: Sieve = field(default_factory=Sieve)

    @property
    def doubt(self) -> str:
        """Why what gdb sees, or does not see, may be the serial line's fault; "" if it is not.

        The protocol's sums show damage. But gdb never sees a packet whose "$" is lost, and a
        kernel that lost gdb's is silent: so one that is not acknowledged, or not whole, counts.
        """
        if self.fault or self.damage:
            return self.fault or self.damage
        if self.to_gdb.rest:
            return f"kgdb's packet is not whole: {self.to_gdb.rest[:80]!r}"
        return "kgdb did not acknowledge gdb's packet" if self.owed > 0 else ""

    def from_gdb(self, data: bytes) -> None:
        """Record what gdb sends."""
        for is_packet, piece in self.to_kernel.pieces(data):
            if is_packet:
                self.owed += 1
                self.running = RESUMES.match(piece, 1) is not None
            elif b"-" in piece:
                self.fault = "gdb asks kgdb to resend a packet"
            elif piece.strip(b"+" + BREAK_IN):
                self.fault = f"gdb sent {piece!r}, which is not a packet"

    def from_kernel(self, data: bytes) -> tuple[bytes, bytes]:
        """Divide what the kernel sends: for gdb, and for the console."""
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
                if found := REMAINS.search(piece, marks):
                    self.damage = f"kgdb's packet is damaged: {piece[found.start() :][:80]!r}"
                if b"-" in piece[:marks]:
                    self.fault = "kgdb asks gdb to resend a packet"
        return gdb, text


class Relay(AbstractContextManager["Relay"]):
    """Between a serial line, gdb at ``pty``, and the console that had the line before.

    The console works as if it still had it; the transcript has all traffic.
    ``break_in`` is called for gdb's Ctrl-C, which kgdb does not support on a serial line.
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
            if error is None and self._lost is None:  # the guest may have sent more
                self._ours.shutdown(socket.SHUT_WR)
                while self._thread.is_alive():  # it waits for us if that is a lot
                    self._console.catch_up()
                    self._thread.join(LOOK)
                self._console.catch_up()
        finally:
            self._stack.close()

    def _end(self) -> None:
        """End the thread, even if it still has data to pass on."""
        self._ours.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    @property
    def running(self) -> bool:
        """Whether gdb has let the kernel run and it has not stopped since."""
        return self._traffic.running

    @property
    def doubt(self) -> str:
        """See Traffic.doubt."""
        return self._traffic.doubt

    def require_sound(self) -> None:
        """Raise MachineryError if the line is lost, or gdb and kgdb are out of step."""
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
        except Exception as error:  # noqa: BLE001 -- reported by require_sound() on the other thread
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
