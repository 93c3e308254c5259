# SPDX-License-Identifier: GPL-2.0-only
"""A terminal is raw while it is joined to a line, and given back as it was."""

from __future__ import annotations

import os
import pty
import sys
import termios
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

from kstep.hand.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

LOCAL = 3  # termios: the local flags


@contextmanager
def standing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Stand on a terminal; give its keyboard and screen, and the terminal itself."""
    near, far = pty.openpty()
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(sys, stream, SimpleNamespace(fileno=lambda: far))
    try:
        yield near, far
    finally:
        os.close(near)
        os.close(far)


def read_up_to(end: bytes, fd: int) -> bytes:
    """Read from a terminal, which passes on in pieces what was written at once."""
    heard = b""
    while not heard.endswith(end):
        heard += os.read(fd, 100)
    return heard


def test_it_is_restored_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing(monkeypatch) as (_, far):
        before = termios.tcgetattr(far)
        with suppress(KeyboardInterrupt), Terminal():
            assert not termios.tcgetattr(far)[LOCAL] & termios.ISIG
            raise KeyboardInterrupt
        assert termios.tcgetattr(far) == before


def test_what_is_typed_goes_to_the_line_but_for_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing(monkeypatch) as (near, _), Terminal() as terminal:
        line_near, line_far = pty.openpty()
        tty_attributes = termios.tcgetattr(line_far)
        tty_attributes[LOCAL] = 0
        termios.tcsetattr(line_far, termios.TCSANOW, tty_attributes)
        os.write(line_far, b"hello")
        os.write(near, b"a\x03b\x1dc")
        terminal.carry(line_near, {b"\x1d": lambda: True}, lambda _said: False)
        assert read_up_to(b"b", line_far) == b"a\x03b"
        # Behind the echo of what came before the terminal was raw.
        assert read_up_to(b"hello", near).endswith(b"hello")
    for fd in (line_near, line_far):
        os.close(fd)


def test_without_a_terminal_the_end_of_input_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"bt\n")
    os.close(writer)
    screen_out, screen_in = os.pipe()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: reader))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(fileno=lambda: screen_in))
    heard = b""
    with Terminal() as terminal:
        assert terminal.size is None
        line_near, line_far = pty.openpty()

        def look(_said: bytes) -> bool:
            nonlocal heard
            os.set_blocking(line_far, False)
            try:
                heard += os.read(line_far, 10)
            except BlockingIOError:
                return False
            return True

        settings = termios.tcgetattr(line_far)
        settings[LOCAL] = 0
        termios.tcsetattr(line_far, termios.TCSANOW, settings)
        terminal.carry(line_near, {}, lambda said: look(said) and heard.endswith(b"\x04"))
    assert heard == b"bt\n\x04"
    for fd in (reader, screen_out, screen_in, line_near, line_far):
        os.close(fd)
