# SPDX-License-Identifier: GPL-2.0-only
"""A serial line: bytes in both directions, prompts and deadlines, for any protocol."""

from __future__ import annotations

import os
import re
import select
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kstep.results.transcript import Transcript

CHUNK = 1 << 16  # bytes a read; a stop of kdb's is about 120
TAIL = 80  # bytes kept of what was received since something was sent
LOOK = 1.0  # seconds between two checks that the other end is alive
SETTLED = 0.2  # seconds without a byte after which an echo counts as complete
PATIENCE = 2.0  # seconds of silence after which a faulty line is probed
ASKS = 5  # probes without an answer before silence is believed
REDRAWS = 3  # keys in each probe, because a line may lose several bytes in a row
LONG = 16  # characters from which a command is recognised even if drawn with faults
NOTHING = re.compile(rb"(?!)")
TRIES = 8  # times that a command is typed until its echo is correct


class SilenceError(Exception):
    """The deadline passed before what was waited for was received.

    ``heard`` is what was received instead; it is not consumed.
    """

    def __init__(self, waited_for: str, heard: bytes, deadline: Deadline) -> None:
        super().__init__(f"no {waited_for} within {deadline}")
        self.heard = heard


@dataclass(frozen=True)
class Editor:
    """How the other end, which reads a command by character, lets it be checked and corrected.

    ``enter`` ends the command. ``redraw`` is the key that redraws it, after what ``lead``
    matches; ``erase`` the key that removes its last character. ``others`` matches what others
    print in between. ``entered`` matches what is printed only after the command was ended.
    """

    enter: bytes
    redraw: bytes
    lead: re.Pattern[bytes]
    erase: bytes
    others: re.Pattern[bytes]
    entered: re.Pattern[bytes]

    def drawn(self, text: bytes) -> bytes | None:
        """Return what follows the last lead of a text; None if it has none."""
        parts = self.lead.split(self.others.sub(b"", text))
        return parts[-1] if parts[1:] else None


class Console:
    """One end of a serial line.

    ``alive`` is called while nothing is received; it raises MachineryError when the other end
    is gone. ``missed`` is the time that the host did not give it; see Deadline. ``on_text`` gets
    everything as it is received, and may raise. A line that is not ``trusted`` is faulty: it may
    lose, double and change bytes. ``delay`` is the time between two characters that are sent, in
    seconds. ``doubts`` counts the errors that the line was seen to make; ``read_once`` names the
    latest reading that cannot be repeated. Users reset both.
    """

    def __init__(
        self,
        fd: int,
        alive: Callable[[], None],
        *,
        missed: Callable[[], float] = lambda: 0.0,
        trusted: bool = True,
        delay: float = 0.0,
    ) -> None:
        self._fd = fd
        self._alive = alive
        self._missed = missed
        self.trusted = trusted
        self._delay = delay
        self.doubts = 0
        self.read_once = ""
        self._received = 0  # bytes
        self._may_enter = False  # any part of what is typed
        self._soiled = False  # the command may hold keys that were meant for another reader
        self._buffer = b""
        self._unanswered = b""
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self.transcript: Transcript | None = None
        self.on_text: Callable[[bytes], None] | None = None

    def deadline(self, seconds: float) -> Deadline:
        """Return a deadline after ``seconds`` seconds in which the other end could run."""
        return Deadline.after(seconds, self._missed)

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        if self.transcript is not None:
            self.transcript.add(">", data)  # first: it may be what ends this process
        self._unanswered = b""
        while data:
            piece = data[:1] if self._delay else data
            data = data[os.write(self._fd, piece) :]
            if self._delay and data:
                time.sleep(self._delay)  # a UART without flow control cannot say that it is full

    def expect(
        self,
        pattern: re.Pattern[bytes],
        what: str,
        deadline: Deadline,
        ask: Callable[[], None] | None = None,
    ) -> re.Match[bytes]:
        """Wait until ``pattern`` is found in what was received; consume up to its end.

        Returns the match, whose string begins with what was not consumed before.
        Raises SilenceError at the deadline, and MachineryError when the line is lost.
        What was received before the deadline is still read after it, because this machine may
        have stalled; but endless text does not extend the deadline. After some silence on a
        faulty line ``ask`` probes the other end, which may bring the answer; silence is believed
        after ASKS probes without an answer.
        """
        asks = 0 if ask is None or self.trusted else ASKS
        quiet_since = time.monotonic()
        while not (match := pattern.search(self._buffer)):
            came = self._receive(min(deadline.left, LOOK))
            if came:
                quiet_since = time.monotonic()
                asks = asks and ASKS
            else:
                self._alive()
            late = not deadline.left and (not came or deadline.overdue > LOOK)
            if ask and asks and (late or time.monotonic() - quiet_since >= PATIENCE):
                received = self._received
                ask()
                asks = ASKS if self._received > received and not late else asks - 1
                quiet_since = time.monotonic()
            elif late:
                raise SilenceError(what, self._buffer, deadline)
        self._buffer = self._buffer[match.end() :]
        return match

    # -- editing a command

    def type(
        self, line: bytes, editor: Editor, deadline: Deadline, *, harmless: bool = False
    ) -> None:
        """Type a command and Enter; of a ``harmless`` one any part may be entered too.

        On a faulty line, Enter is sent only when the echo is correct; otherwise the command is
        typed again. The echo is consumed, earlier text is not. Raises MachineryError
        ``console-lost`` if that does not help, or if the command took effect before Enter;
        SilenceError if it is not redrawn before the deadline, whatever else is received.
        """
        if self.trusted:
            self.send(line + editor.enter)
            return
        self.catch_up()
        before, self._buffer = self._buffer, b""
        self._may_enter = harmless
        seen: list[bytes] = []
        edits, heard = False, b""
        shown = self._wipe(line, editor) if self._soiled else b""
        while True:
            if shown == b"":
                shown = self._shown(line, line, editor)
            if shown == line and self.doubts and len(line) >= LONG:
                # One byte too many on the way out and one too few on the way back look correct.
                shown = self._shown(editor.redraw, line, editor)
            if shown == line:
                self._soiled = False
                self._buffer = before
                self.send(editor.enter)
                return
            self.doubts += 1
            heard, echo = heard + self._buffer, self._buffer[-TAIL:]
            if echo:
                seen.append(echo)
            shown = self._shown(editor.redraw, line, editor)
            edits = edits or shown is not None
            if shown != line:
                heard += self._buffer
                shown = self._wipe(line, editor)
                edits = edits or shown is not None
            if not deadline.left and not (edits and echo):
                raise SilenceError(f"echo of {_text(line)!r}", heard, deadline)
            if edits and len(seen) >= TRIES:
                raise MachineryError(
                    f"typed {_text(line)!r}, but the echo was {_times(seen)}; Enter was not sent",
                    Signature.CONSOLE_LOST,
                )

    def awaits_enter(self, line: bytes, editor: Editor) -> bool | None:
        """Whether a typed command still awaits Enter; None if nothing is redrawn.

        Other text there was typed by mistake, and is removed. What was received is not consumed,
        nor is a prompt that is drawn.
        """
        shown = self._draw(editor)
        if shown and line:
            damaged = len(line) >= LONG and len(shown) > len(line) // 2
            if shown.startswith(line) or damaged:
                return True
        if shown and self._draw(editor) == shown:
            self.send(editor.erase * (len(shown) + 1) + editor.redraw)
            self.settle()
        return None if shown is None else False

    def _draw(self, editor: Editor) -> bytes | None:
        self._soiled = True
        before, self._buffer = self._buffer, b""
        self.send(editor.redraw * REDRAWS)
        self.settle()
        shown = editor.drawn(self._buffer)
        self._buffer = before + self._buffer
        return shown

    def settle(self, pattern: re.Pattern[bytes] = NOTHING, quiet: float = SETTLED) -> None:
        """Receive until nothing arrives for ``quiet`` seconds, or ``pattern`` is found."""
        end = Deadline.after(max(LOOK, quiet))
        while not pattern.search(self._buffer) and self._receive(quiet) and end.left:
            pass

    def _wipe(self, line: bytes, editor: Editor) -> bytes | None:
        """Erase the command that is being edited; return what is left of it, None if unknown."""
        return self._shown(editor.erase * (2 * len(line)) + editor.redraw, None, editor)

    def _shown(self, keys: bytes, wanted: bytes | None, editor: Editor) -> bytes | None:
        """Send keys; return the edited command by its echo, at once if that is ``wanted``.

        None if a redraw was requested and nothing was redrawn.
        """
        redraws = keys.endswith(editor.redraw)
        if redraws:
            self._require_not_entered(editor)
            self._buffer = b""
        self.send(keys)
        shown: bytes | None = None
        while True:
            came = self._receive(SETTLED)
            shown = editor.drawn(self._buffer)
            if shown is None and not redraws:
                shown = editor.others.sub(b"", self._buffer)
            if not came or (wanted is not None and shown == wanted):
                self._require_not_entered(editor)
                return shown

    def _require_not_entered(self, editor: Editor) -> None:
        text = editor.lead.sub(b"", editor.others.sub(b"", self._buffer))
        if editor.entered.search(text) and not self._may_enter:
            raise MachineryError(
                "the command ran before Enter was sent, or Enter arrived twice: received"
                f" {_text(text[-TAIL:])!r}",
                Signature.CONSOLE_LOST,
            )

    @property
    def heard(self) -> bytes:
        """What was received and is not consumed."""
        return self._buffer

    @property
    def unanswered(self) -> bytes:
        """The end of what was received since something was sent, consumed or not.

        A prompt at its end therefore waits for an answer; at most TAIL bytes.
        """
        return self._unanswered

    def forget(self) -> None:
        """Drop what was received and is not consumed."""
        self._buffer = b""

    def catch_up(self) -> None:
        """Receive what has arrived, without waiting for more."""
        while self._receive(0):
            pass

    @contextmanager
    def through(self, fd: int) -> Iterator[None]:
        """Use another descriptor for the block; its owner keeps the transcript meanwhile."""
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
            raise MachineryError(f"serial line lost: {error}", Signature.CONSOLE_LOST) from error
        if not data:
            raise MachineryError("serial line closed", Signature.CONSOLE_LOST)
        if self.transcript is not None:
            self.transcript.add("<", data)
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        self._buffer += data
        self._received += len(data)
        self._unanswered = (self._unanswered + data)[-TAIL:]
        if self.on_text is not None:
            self.on_text(data)


def _text(data: bytes) -> str:
    return data.decode(errors="replace").strip()


def _times(seen: list[bytes]) -> str:
    """Return what was seen, and how often."""
    texts = [_text(each) for each in seen]
    return ", ".join(
        f"{text!r}" + (f" {n} times" if (n := texts.count(text)) > 1 else "")
        for text in dict.fromkeys(texts)
    )
