# SPDX-License-Identifier: GPL-2.0-only
"""``./inv shell`` and ``./inv gdb`` at a terminal, as a person uses them, and with a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import termios
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from kstep.base.deadline import Deadline
from kstep.console.console import Console
from tests.integration.command import PATIENCE, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.usefixtures("prepared"),
]  # built before

CTRL_C, ENTER_KDB, LEAVE = b"\x03", b"\x1c", b"\x1d"
NO_TEXT = re.compile(rb"\x1b\[[?0-9;]*[a-zA-Z]")  # colours, and what asks for bracketed paste


class Screen(Console):
    """What a person reads on a terminal: text without escape sequences."""

    def _receive(self, timeout: float) -> bool:
        received = super()._receive(timeout)
        self._buffer = NO_TEXT.sub(b"", self._buffer)
        return received


@dataclass
class Seat:
    """A terminal in which a command of kstep runs."""

    fd: int
    console: Console
    process: subprocess.Popen[bytes]

    def sees(self, pattern: str) -> str:
        """Wait for a text, and return it."""
        found = self.console.expect(
            re.compile(pattern.encode()), pattern, Deadline.after(PATIENCE / 10)
        )
        return found[0].decode(errors="replace")

    def types(self, keys: bytes) -> None:
        """Type."""
        self.console.send(keys)

    def asks(self, question: str, answer: str, prompt: str) -> str:
        """Type a line, wait for its output, and for the prompt."""
        self.types(question.encode() + b"\r")
        found = self.sees(answer)
        self.sees(prompt)
        return found


@contextmanager
def seat(*arguments: str, term: str = "xterm") -> Iterator[Seat]:
    """Run a command in a terminal of 33 rows; it must succeed and restore the terminal."""
    near, far = pty.openpty()
    try:
        termios.tcsetwinsize(far, (33, 99))
        before = termios.tcgetattr(far)
        process = subprocess.Popen(
            ["setsid", "-w", "-c", ROOT / "inv", *arguments],
            cwd=ROOT,
            env={**os.environ, "TERM": term},
            stdin=far,
            stdout=far,
            stderr=far,
        )
        try:
            yield Seat(near, Screen(near, lambda: None), process)
            assert process.wait(60) == 0
            assert termios.tcgetattr(far) == before
        finally:
            process.terminate()
            process.wait(60)
    finally:
        os.close(near)
        os.close(far)


def test_a_shell_and_kdb_a_key_away() -> None:
    prompt, kdb = "guest# ", r"\[0\]kdb> "
    with seat("shell", "--variant=v6/1+2") as user:
        user.sees(r"kernel v6/1\+2: Ctrl-\] leaves")
        user.sees("stty rows 33 cols 99")
        user.sees(prompt)
        user.asks("stty size", "33 99", prompt)
        user.types(ENTER_KDB)
        user.sees("Keyboard Entry")
        user.sees(kdb)
        user.asks("rd", "pstate: ", kdb)
        user.types(b"go\r")
        termios.tcsetwinsize(user.fd, (44, 111))
        user.asks("echo st'i'll here", "still here", prompt)
        user.sees("stty rows 44 cols 111")
        user.types(LEAVE)


@pytest.mark.parametrize("term", ["dumb", "xterm-256color"])
def test_gdb_is_connected_and_knows_the_source(term: str) -> None:
    prompt = r"\(gdb\) "
    with seat("gdb", "--variant=v6/1+2", term=term) as user:
        user.sees(r"kernel v6/1\+2, stopped: ")
        user.sees(prompt)
        user.asks("break vfs_mkdir", "Breakpoint 1 at 0x[0-9a-f]+: file .*fs/namei.c", prompt)
        user.asks("guest mkdir /tmp/new", "guest", prompt)
        user.asks("continue", r"Breakpoint 1, .*vfs_mkdir \(", prompt)
        user.asks("stepi", r"0x[0-9a-f]+\s+\d+\s+\{", prompt)
        user.asks("list el1_interrupt", r"static void noinstr el1_interrupt\(", prompt)
        user.types(b"delete\rcontinue\r")
        user.sees("Continuing")
        user.types(CTRL_C)
        user.sees("SIGTRAP")
        user.sees(prompt)
        user.types(b"quit\r")


def test_a_script_speaks_to_the_shell_and_to_kdb() -> None:
    done = subprocess.run(
        [ROOT / "inv", "shell", "--variant=none"],
        input="echo g > /proc/sysrq-trigger\nbp vfs_mkdir\ngo\nmkdir /tmp/x\nbc 0\ngo\nls /tmp\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "due to Breakpoint @ " in done.stdout
    assert re.search(r"guest# ls /tmp\s+.*\bx\b", done.stdout), done.stdout
