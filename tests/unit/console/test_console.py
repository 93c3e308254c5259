# SPDX-License-Identifier: GPL-2.0-only
"""The serial line: what is waited for is found however it is cut, and silence has an end."""

from __future__ import annotations

import os
import pty
import re
import time
import tty
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.console import console as consoles
from kstep.console.console import Console, SilenceError
from kstep.results.transcript import Transcript
from tests.unit.farend import byte_by_byte, line_to, pieces
from tests.unit.results.material import read_back

if TYPE_CHECKING:
    from pathlib import Path

SOON = 5.0  # seconds: what is there is found at once, on the slowest machine


class Says:
    """Says a text as the line opens, then echoes."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def hear(self, typed: bytes) -> bytes:
        """Return the text, or the echo."""
        text, self.text = self.text, b""
        return text + typed


def test_what_was_found_is_consumed_and_nothing_behind_it() -> None:
    with line_to(Says(b"one two three two")) as console:
        first = console.expect(re.compile(rb"t(w)o"), "two", Deadline.after(SOON))
        second = console.expect(re.compile(rb"two$"), "two again", Deadline.after(SOON))
    assert (first.string[: first.start()], first[1]) == (b"one ", b"w")
    assert second.string == b" three two"


def test_what_came_last_waits_for_an_answer_until_one_is_sent() -> None:
    """Consumed or not; what is on the line for another reader of it does not."""
    with line_to(Says(b"x" * 100 + b"kdb> ")) as console:
        assert console.unanswered == b""
        console.expect(re.compile(rb"kdb> \Z"), "prompt", Deadline.after(SOON))
        assert console.unanswered == b"x" * (consoles.TAIL - 5) + b"kdb> "
        console.send(b"go")
        assert console.unanswered == b""
        console.expect(re.compile(rb"go"), "echo", Deadline.after(SOON))
        assert console.unanswered == b"go"
        with os.fdopen(os.open(os.devnull, os.O_RDWR)) as other, console.through(other.fileno()):
            assert console.unanswered == b""
        assert console.unanswered == b""


def test_both_directions_carry_every_byte() -> None:
    every = bytes(range(256)) * 40  # more than a pty takes at a time
    with line_to(Says(b"")) as console:
        console.send(every)
        match = console.expect(re.compile(rb"(?s).{%d}" % len(every)), "echo", Deadline.after(SOON))
    assert match[0] == every


def test_silence_tells_what_was_heard_and_keeps_it() -> None:
    with line_to(Says(b"[0]kd"), packets=True) as console:
        console.expect(re.compile(rb"\["), "beginning", Deadline.after(SOON))
        with pytest.raises(SilenceError, match=r"^no prompt within 0\.1 s$") as silence:
            console.expect(re.compile(rb"kdb>"), "prompt", Deadline.after(0.1))
        assert silence.value.heard == b"0]kd"
        assert console.expect(re.compile(rb"kd"), "rest", Deadline.after(0)).start() == 2


def test_what_has_come_is_found_after_the_deadline_too() -> None:
    """The host may have stalled, and not the kernel."""
    with line_to(Says(b"here")) as console:
        console.expect(re.compile(rb"h"), "h", Deadline.after(SOON))
        assert console.expect(re.compile(rb"ere"), "rest", Deadline.after(0))


def test_a_flood_does_not_put_the_deadline_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that prints for ever never says what is waited for."""
    monkeypatch.setattr(consoles, "LOOK", 0.2)
    near, far = pty.openpty()
    tty.setraw(far)
    os.set_blocking(far, False)

    class Flood(Console):
        def _receive(self, timeout: float) -> bool:
            os.write(far, b"again and again\n")
            return super()._receive(timeout)

    began = time.monotonic()
    with pytest.raises(SilenceError):
        Flood(near, lambda: None).expect(re.compile(rb"never"), "end", Deadline.after(0.2))
    assert time.monotonic() - began < SOON
    os.close(near)
    os.close(far)


def test_who_lives_is_asked_while_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "LOOK", 0.05)

    def gone() -> None:
        raise MachineryError("QEMU ended", Signature.MACHINE_DIED)

    with line_to(Says(b"half")) as console:
        console._alive = gone
        with pytest.raises(MachineryError) as error:
            console.expect(re.compile(rb"whole"), "word", Deadline.after(60))
    assert error.value.signature is Signature.MACHINE_DIED


@pytest.mark.parametrize("packets", [False, True], ids=["pty", "socket"])
def test_a_line_that_ends_is_lost(packets: bool) -> None:  # noqa: FBT001 -- a parameter
    class Ends:
        def hear(self, typed: bytes) -> bytes:
            raise BrokenPipeError(typed)

    with pytest.raises(MachineryError) as error, line_to(Ends(), packets=packets) as console:
        console.expect(re.compile(rb"x"), "x", Deadline.after(SOON))
    assert error.value.signature is Signature.CONSOLE_LOST


def test_what_comes_is_seen_as_it_comes_and_may_end_the_wait() -> None:
    """A complaint must not wait for a prompt that may never come."""
    seen = []

    def look(data: bytes) -> None:
        seen.append(data)
        if data == b"!":
            raise ValueError

    with line_to(Says(b"ab!c"), byte_by_byte, packets=True) as console:
        console.on_text = look
        with pytest.raises(ValueError, match=r"^$"):
            console.expect(re.compile(rb"c"), "c", Deadline.after(SOON))
        console.on_text = None
        assert console.expect(re.compile(rb"c"), "c", Deadline.after(SOON)).string == b"ab!c"
    assert seen == [b"a", b"b", b"!"]


def test_what_was_not_consumed_can_be_forgotten() -> None:
    with line_to(Says(b"old")) as console:
        console.expect(re.compile(rb"o"), "o", Deadline.after(SOON))
        console.forget()
        with pytest.raises(SilenceError) as silence:
            console.expect(re.compile(rb"ld"), "rest", Deadline.after(0.01))
    assert silence.value.heard == b""


@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(1, 30), min_size=1))
def test_a_word_is_found_however_the_line_is_cut(text: bytes, sizes: list[int]) -> None:
    said = text.replace(b"#", b"") + b"\r\n#end#"
    with line_to(Says(said), pieces(sizes), packets=True) as console:
        match = console.expect(re.compile(rb"#end#"), "end", Deadline.after(SOON))
    assert match.string[: match.start()] == said.removesuffix(b"#end#")


def test_the_console_writes_both_directions_down(tmp_path: Path) -> None:
    with line_to(Says(b"ready\n")) as console, Transcript(tmp_path / "log", 0.0) as transcript:
        console.transcript = transcript
        console.expect(re.compile(rb"ready\n"), "word", Deadline.after(SOON))
        console.send(b"go\r")
        console.expect(re.compile(rb"go\r"), "echo", Deadline.after(SOON))
    assert [(d, data) for _, d, data in read_back(tmp_path / "log")] == [
        ("<", b"ready\n"),
        (">", b"go\r"),
        ("<", b"go\r"),
    ]
