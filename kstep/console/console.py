# SPDX-License-Identifier: GPL-2.0-only
"""A serial line: bytes in both directions, prompts and deadlines; not who speaks on it."""

from __future__ import annotations

import os
import select
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    from kstep.base.deadline import Deadline
    from kstep.results.transcript import Transcript

CHUNK = 1 << 16  # bytes a read; a stop of kdb's is about 120
TAIL = 80  # bytes that are kept of what has come since something was sent
LOOK = 1.0  # seconds between two looks at whether the other end lives


class SilenceError(Exception):
    """The deadline passed and what was waited for has not come.

    ``heard`` is what did come, not consumed.
    """

    def __init__(self, waited_for: str, heard: bytes, seconds: float) -> None:
        super().__init__(f"no {waited_for} within {seconds:.1f} s")
        self.heard = heard


class Console:
    """One end of a serial line.

    ``alive`` is asked while nothing comes; it raises MachineryError when the other end
    is gone. ``on_text`` sees all that comes, as it comes, and may raise.
    """

    def __init__(self, fd: int, alive: Callable[[], None]) -> None:
        self._fd = fd
        self._alive = alive
        self._buffer = b""
        self._unanswered = b""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self.transcript: Transcript | None = None
        self.on_text: Callable[[bytes], None] | None = None

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        if self.transcript is not None:
            self.transcript.add(">", data)
        self._unanswered = b""
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

    @property
    def unanswered(self) -> bytes:
        """The end of what has come since something was sent, consumed or not.

        So a prompt at its end waits for an answer; at most TAIL bytes.
        """
        return self._unanswered

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
        self._unanswered = b""

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
        self._unanswered = (self._unanswered + data)[-TAIL:]
        if self.on_text is not None:
            self.on_text(data)
        return True
