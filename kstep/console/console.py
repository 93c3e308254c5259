# SPDX-License-Identifier: GPL-2.0-only
"""A serial line: bytes in both directions, prompts and deadlines; not who speaks on it."""

from __future__ import annotations

import os
import select
import time
from contextlib import AbstractContextManager, contextmanager
from typing import IO, TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from kstep.base.deadline import Deadline

CHUNK = 1 << 16  # bytes a read; a stop of kdb's is about 120
LOOK = 1.0  # seconds between two looks at whether the other end lives


class SilenceError(Exception):
    """The deadline passed and what was waited for has not come.

    ``heard`` is what did come, not consumed.
    """

    def __init__(self, waited_for: str, heard: bytes, seconds: float) -> None:
        super().__init__(f"no {waited_for} within {seconds:.1f} s")
        self.heard = heard


class Transcript(AbstractContextManager["Transcript"]):
    """Every byte of a line, with its direction and time: one record a line of text.

    A record is ``<seconds> < "text"`` for what came and ``>`` for what was sent, cut at
    line ends and where the direction changes, with control characters escaped. Its time
    is that of its first byte, in seconds from ``began``.
    """

    def __init__(self, path: Path, began: float) -> None:
        self._stream: IO[str] = path.open("w", encoding="ascii")
        self._began = began
        self._direction = ""
        self._piece = b""
        self._time = 0.0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        self._stream.close()

    def add(self, direction: str, data: bytes) -> None:
        """Take the next bytes; a UART gives them one by one."""
        if direction != self._direction:
            self._flush()
            self._direction = direction
        if not self._piece:
            self._time = time.monotonic() - self._began
        self._piece += data
        if b"\n" in data:
            *lines, rest = self._piece.splitlines(keepends=True)
            if rest.endswith(b"\n"):
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._write(line)
            self._piece = rest

    def _flush(self) -> None:
        if self._piece:
            self._write(self._piece)
            self._piece = b""

    def _write(self, line: bytes) -> None:
        text = line.decode("latin-1").encode("unicode_escape").decode("ascii")
        quoted = text.replace('"', '\\"')
        self._stream.write(f'{self._time:.6f} {self._direction} "{quoted}"\n')


class Console:
    """One end of a serial line.

    ``alive`` is asked while nothing comes; it raises MachineryError when the other end
    is gone. ``on_text`` sees all that comes, as it comes, and may raise.
    """

    def __init__(self, fd: int, alive: Callable[[], None]) -> None:
        self._fd = fd
        self._alive = alive
        self._buffer = b""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self.transcript: Transcript | None = None
        self.on_text: Callable[[bytes], None] | None = None

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        if self.transcript is not None:
            self.transcript.add(">", data)
        while data:
            data = data[os.write(self._fd, data) :]

    def expect(self, pattern: re.Pattern[bytes], what: str, deadline: Deadline) -> re.Match[bytes]:
        """Wait until ``pattern`` is found in what has come; consume up to its end.

        Returns the match, whose string begins with what was not consumed before.
        Raises SilenceError at the deadline, and MachineryError when the line is lost.
        What came before the deadline is read after it, for it may be this machine that
        stood still; but text that never ends does not put the deadline off.
        """
        while not (match := pattern.search(self._buffer)):
            came = self._receive(min(deadline.left, LOOK))
            if not came:
                self._alive()
            if not deadline.left and (not came or deadline.overdue > LOOK):
                raise SilenceError(what, self._buffer, deadline.seconds)
        self._buffer = self._buffer[match.end() :]
        return match

    def forget(self) -> None:
        """Drop what has come and was not consumed."""
        self._buffer = b""

    def catch_up(self) -> None:
        """Take what has come, without waiting for more."""
        while self._receive(0):
            pass

    @contextmanager
    def through(self, fd: int) -> Iterator[None]:
        """Speak through another descriptor for the block; who gives it keeps the transcript."""
        own = self._fd, self.transcript
        self._turn_to(fd)
        self.transcript = None
        try:
            yield
        finally:
            self._turn_to(own[0])
            self.transcript = own[1]

    def _turn_to(self, fd: int) -> None:
        self._poll.unregister(self._fd)
        self._poll.register(fd, select.POLLIN)
        self._fd = fd

    def _receive(self, timeout: float) -> bool:
        if not self._poll.poll(timeout * 1000):
            return False
        try:
            data = os.read(self._fd, CHUNK)
        except OSError as error:
            raise MachineryError(
                f"the serial line is lost: {error}", Signature.CONSOLE_LOST
            ) from error
        if not data:
            raise MachineryError("the serial line is at its end", Signature.CONSOLE_LOST)
        if self.transcript is not None:
            self.transcript.add("<", data)
        self._buffer += data
        if self.on_text is not None:
            self.on_text(data)
        return True
