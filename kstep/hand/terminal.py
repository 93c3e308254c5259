# SPDX-License-Identifier: GPL-2.0-only
"""The user's terminal, connected to a serial line, and restored afterwards."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import tty
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType, TracebackType

CHUNK = 1 << 16  # bytes a read
LOOK = 0.1  # seconds between two calls of ``look``
END_OF_INPUT = b"\x04"  # Ctrl-D ends the input of a terminal's program


class Terminal(AbstractContextManager["Terminal"]):
    """Standard input and output; a terminal is raw in the block, and restored after it.

    ``size`` is rows and columns, None if the input is not a terminal; ``resized`` says that the
    size changed and the guest does not know yet.
    """

    def __init__(self) -> None:
        self._in = sys.stdin.fileno()
        self._out = sys.stdout.fileno()
        self.is_terminal = os.isatty(self._in)
        self.resized = True

    def __enter__(self) -> Self:
        if self.is_terminal:
            self._before = termios.tcgetattr(self._in)
            self._handler = signal.signal(signal.SIGWINCH, self._resize)
            tty.setraw(self._in)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_terminal:
            signal.signal(signal.SIGWINCH, self._handler)
            with contextlib.suppress(termios.error):  # it may be gone
                termios.tcsetattr(self._in, termios.TCSADRAIN, self._before)

    def _resize(self, _number: int, _frame: FrameType | None) -> None:
        self.resized = True

    @property
    def size(self) -> tuple[int, int] | None:
        """Rows and columns; None if there is no terminal, or its size is unknown."""
        if not self.is_terminal:
            return None
        rows, columns = termios.tcgetwinsize(self._in)
        return (rows, columns) if rows and columns else None

    def show(self, data: bytes) -> None:
        """Write to standard output."""
        while data:
            data = data[os.write(self._out, data) :]

    def say(self, text: str) -> None:
        """Write a line of kstep's own."""
        self.show(f"{text}\r\n".encode() if self.is_terminal else f"{text}\n".encode())

    def carry(
        self,
        line: int,
        keys: Mapping[bytes, Callable[[], bool]],
        look: Callable[[bytes], bool],
    ) -> None:
        """Pass what is typed to a serial line, and its output to the screen.

        A key of ``keys`` is not passed on; its function is called instead. ``look`` is called
        with the output, at least ten times a second. Either returns whether to end.
        """
        poll = select.poll()
        poll.register(self._in, select.POLLIN)
        poll.register(line, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(LOOK * 1000)}
            said = os.read(line, CHUNK) if line in ready else b""
            self.show(said)
            if self._in in ready:
                typed = os.read(self._in, CHUNK)
                if not typed:
                    poll.unregister(self._in)
                    typed = END_OF_INPUT
                if self._type(line, typed, keys):
                    return
            if look(said):
                return

    @staticmethod
    def _type(line: int, typed: bytes, keys: Mapping[bytes, Callable[[], bool]]) -> bool:
        for number in range(len(typed)):
            key = typed[number : number + 1]
            if key not in keys:
                os.write(line, key)
            elif keys[key]():
                return True
        return False
