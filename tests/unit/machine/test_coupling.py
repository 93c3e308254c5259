# SPDX-License-Identifier: GPL-2.0-only
"""A line that outlives its visitors."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from kstep.base.pty import Pty
from kstep.machine.coupling import Coupling

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def coupled(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The socket, and the far end of the line."""
    with ExitStack() as stack:
        line = Pty.open(stack)
        far = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
        stack.callback(os.close, far)
        stack.enter_context(Coupling(tmp_path / "gdb", line.near))
        yield tmp_path / "gdb", far


def visit(path: Path) -> socket.socket:
    """Connect as gdb does."""
    visitor = socket.socket(socket.AF_UNIX)
    visitor.settimeout(10)
    visitor.connect(str(path))
    return visitor


def test_a_visitor_has_the_line(coupled: tuple[Path, int]) -> None:
    path, far = coupled
    with visit(path) as visitor:
        visitor.sendall(b"$g#67")
        assert os.read(far, 100) == b"$g#67"
        os.write(far, b"+$00#60")
        assert visitor.recv(100) == b"+$00#60"


def test_the_next_visitor_has_it_too(coupled: tuple[Path, int]) -> None:
    path, far = coupled
    for number in range(3):
        with visit(path) as visitor:
            visitor.sendall(b"%d" % number)
            assert os.read(far, 100) == b"%d" % number


def test_all_of_a_long_packet_arrives(coupled: tuple[Path, int]) -> None:
    """A terminal takes 4 KiB at a time."""
    path, far = coupled
    sent = os.urandom(100_000)
    got = bytearray()

    def hear() -> None:
        while len(got) < len(sent):
            got.extend(os.read(far, 4096))

    listener = threading.Thread(target=hear, daemon=True)
    listener.start()
    with visit(path) as visitor:
        visitor.sendall(sent)
        listener.join(30)
        assert bytes(got) == sent


def test_what_was_said_to_nobody_is_dropped(coupled: tuple[Path, int]) -> None:
    path, far = coupled
    with visit(path) as visitor:
        visitor.sendall(b"x")
        os.read(far, 1)
    visitor = visit(path)  # taken once the one before is seen to be gone
    visitor.sendall(b"y")
    assert os.read(far, 1) == b"y"
    os.write(far, b"z")
    assert visitor.recv(10) == b"z"
    visitor.close()


def test_its_end_ends_a_visit(tmp_path: Path) -> None:
    with ExitStack() as stack:
        line = Pty.open(stack)
        with Coupling(tmp_path / "gdb", line.near):
            visitor = visit(tmp_path / "gdb")
            visitor.sendall(b"x")
            far = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
            stack.callback(os.close, far)
            assert os.read(far, 1) == b"x"
        assert visitor.recv(10) == b""
        visitor.close()
