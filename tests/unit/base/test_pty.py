# SPDX-License-Identifier: GPL-2.0-only
"""A pty outlives who uses it, and is closed with its block."""

from __future__ import annotations

import os
import select
import termios
from contextlib import ExitStack

import pytest

from kstep.base.pty import Pty


def test_bytes_pass_as_they_are_and_the_line_outlives_its_user() -> None:
    with ExitStack() as stack:
        line = Pty.open(stack)
        for word in (b"\x03one\r\n", b"two\n\x04"):
            user = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
            os.write(user, word)
            assert os.read(line.near, 99) == word
            os.write(line.near, word)
            assert os.read(user, 99) == word
            os.close(user)
        assert not select.select([line.near], [], [], 0)[0]


def test_a_terminal_of_a_person_is_not_raw() -> None:
    with ExitStack() as stack:
        user = os.open(Pty.open(stack, raw=False).path, os.O_RDWR | os.O_NOCTTY)
        stack.callback(os.close, user)
        assert termios.tcgetattr(user)[3] & termios.ICANON


def test_it_is_closed_with_its_block() -> None:
    with ExitStack() as stack:
        line = Pty.open(stack)
    assert not line.path.exists()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(line.near)
