# SPDX-License-Identifier: GPL-2.0-only
"""A machine that is not ours: its line, what is wrong with it, and which kernel it runs."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.build.kernel import Kernel
from kstep.console import console as consoles
from kstep.console import kdb
from kstep.console.relay import Relay
from kstep.judge.text import LiveText
from kstep.machine import board
from kstep.machine.board import Board
from kstep.machine.hardware import Hardware
from kstep.machine.interface import UnmappedError
from kstep.machine.line import Line
from tests.unit.farend import Edited, device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kstep.toolchain import Toolchain

NOTE = bytes.fromhex("040000001400000003000000474e5500") + bytes(range(20))
AT = "ffff800008000000"
SWITCHED = re.compile(rb"\$3#33\r?\n")  # kdb_kgdb() in kernel/debug/kdb/kdb_main.c


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """Return a kernel whose image has a build id."""
    (tmp_path / "Image").write_bytes(b"code" + NOTE + b"data")
    (tmp_path / "System.map").write_text(f"{AT} T _text\n")
    return Kernel("key", tmp_path, True, "", "", "", 0.0, 0)  # noqa: FBT003 -- cached


def says(note: bytes = NOTE, at: str = AT, kgdboc: str = "ttyAMA0") -> Callable[[bytes], bytes]:
    """Make a guest that says which kernel it runs."""
    text = f"Linux version 6.1\n{note.hex()}\n{at} T _text\nkgdboc={kgdboc}\n"
    return guest(text)


def guest(text: str) -> Callable[[bytes], bytes]:
    """Make a guest that answers so whichever kernel it runs."""

    def take(line: bytes) -> bytes:
        number = re.search(rb'"-END" (\d+)', line)
        if number is None:
            return b""
        said = text if b"cat /proc/version" in line else ""
        end = f"KSTEP-END {int(number[1])} 0\n"
        return (said + end * 2).replace("\n", "\r\n").encode()

    return Edited(take).hear


def boot(kernel: Kernel, answer: Callable[[bytes], bytes], reset: str = "") -> None:
    """Open the line to a guest and boot it."""
    with device(answer) as name:
        line = Line.parse(f"serial:{name}", reset)
        with Board(line, kernel, Hardware(), cast("Toolchain", None)) as machine:
            machine.boot()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes, wait no longer than a test may."""
    monkeypatch.setattr(consoles, "LOOK", 0.05)
    monkeypatch.setattr(consoles, "SETTLED", 0.05)


# -- a program that has the line

JOINS = """
import os, select, sys
line = os.open(sys.argv[1], os.O_RDWR)
while True:
    for fd in select.select([0, line], [], [])[0]:
        os.write(line if fd == 0 else 1, os.read(fd, 4096))
"""


def test_a_program_may_have_the_line(kernel: Kernel) -> None:
    with device(says()) as name:
        line = Line.parse(f"exec:{shlex.join([sys.executable, '-c', JOINS, name])}", "")
        line.require()
        with Board(line, kernel, Hardware(), cast("Toolchain", None)) as machine:
            machine.boot()
            with pytest.raises(MachineryError, match="BREAK"):
                machine.send_break()


def test_a_program_that_ends_is_a_line_that_is_lost(kernel: Kernel) -> None:
    line = Line.parse("exec:true", "")
    with (
        Board(line, kernel, Hardware(), cast("Toolchain", None)) as machine,
        pytest.raises(MachineryError, match="serial line lost") as error,
    ):
        machine.boot()
    assert error.value.signature is Signature.CONSOLE_LOST


# -- who answers


def test_the_kernel_that_was_named(kernel: Kernel) -> None:
    boot(kernel, says())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says(note=NOTE[:-1] + b"x"), "another kernel"),
        (says(at="ffffb00008000000"), "nokaslr"),
        (says(kgdboc=""), "kgdb has no serial line"),
        (guest(""), "cannot say which kernel"),
        (lambda _typed: b"", "it is silent"),
        (lambda _typed: b"\xfe\x80\x00\xc3" * 9, "is its speed 115200 baud"),
        (lambda _typed: b"login: ", "no shell of kstep's guest"),
    ],
    ids=["other", "kaslr", "kgdboc", "mute", "silent", "garbage", "login"],
)
def test_what_is_no_machine_for_us(
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[bytes], bytes],
    said: str,
) -> None:
    monkeypatch.setattr(board, "ANSWER", 0.2)
    with pytest.raises(MachineryError, match=said) as error:
        boot(kernel, answer)
    assert error.value.signature is Signature.NO_BOOT


def test_after_a_reset_silence_has_a_bound(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "SILENT", 0.2)
    with pytest.raises(MachineryError, match="it is silent"):
        boot(kernel, says(), reset="true")


# -- who has the line when memory is read

PROMPT = b"\r\n[0]kdb> "
ADDRESS = 0xFFFF_8000_0801_0000
WORD = "1f2003d5"


@contextmanager
def over_tcp(kernel: Kernel, answers: dict[bytes, bytes]) -> Iterator[Board]:
    """Return a board on TCP that is in kdb; it answers what is entered, or is silent.

    As kgdb's stub meets what is no packet, and a program what it does not know.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def play() -> None:
            far, _ = server.accept()
            there = True

            def take(line: bytes) -> bytes:
                nonlocal there
                answer = answers.get(line.rstrip(b" "), b"") if line else PROMPT
                there = answer.endswith(PROMPT)
                return answer

            kdb = Edited(take, lambda: b"[0]kdb> ")
            with far, contextlib.suppress(OSError):
                while typed := far.recv(4096):
                    if there:
                        far.sendall(kdb.hear(typed))

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        line = Line.parse(f"tcp:127.0.0.1:{server.getsockname()[1]}", "")
        with Board(line, kernel, Hardware(), cast("Toolchain", None)) as machine:
            machine.console.send(b"\r")
            machine.console.expect(kdb.PROMPT, "prompt", Deadline.after(5))
            yield machine
        thread.join(5)


def test_memory_is_read_at_kdb_s_prompt(kernel: Kernel) -> None:
    read, none = f"mdr {ADDRESS:#x} 4".encode(), b"mdr 0x10 4"
    answers = {read: WORD.encode() + PROMPT, none: b"Bad address 0x10" + PROMPT}
    with over_tcp(kernel, answers) as machine:
        assert machine.read(ADDRESS, 4) == bytes.fromhex(WORD)
        with pytest.raises(UnmappedError):
            machine.read(0x10, 4)
        assert machine.read(ADDRESS, 4) == bytes.fromhex(WORD)


def test_what_kdb_does_not_show_is_no_fault_of_the_kernel_s(kernel: Kernel) -> None:
    """Neither is nothing mapped there, which would be off-order for whoever steps."""
    refused = b"diag: -13: Permission denied" + PROMPT
    with (
        over_tcp(kernel, {b"mdr 0x10 4": refused}) as machine,
        pytest.raises(MachineryError, match="Permission denied") as error,
    ):
        machine.read(0x10, 4)
    assert type(error.value) is MachineryError


def test_gdb_s_having_the_line_is_no_hang_of_the_kernel_s(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kdb, "ANSWER", 0.1)
    typed: list[bytes] = []
    switched = b"Entering please attach debugger or use $D#44+ or $3#33\r\n"
    with over_tcp(kernel, {b"kgdb": switched}) as machine:
        machine.console.send(b"kgdb\r")
        machine.console.expect(SWITCHED, "word that gdb may come", Deadline.after(5))
        monkeypatch.setattr(machine.console, "send", typed.append)
        for relay in (contextlib.nullcontext(), Relay(machine.serial, machine.console)):
            with relay, pytest.raises(MachineryError, match="does not have the serial line"):
                LiveText(machine).word(ADDRESS)
    assert not typed  # what is no packet may not be said to kgdb's stub


@pytest.mark.parametrize("typed", [b"go\r", b"ss\r"])
def test_a_kernel_that_runs_has_no_prompt(kernel: Kernel, typed: bytes) -> None:
    with over_tcp(kernel, {}) as machine:
        machine.console.send(typed)
        with pytest.raises(MachineryError, match="does not have the serial line"):
            machine.read(ADDRESS, 4)


def test_a_kdb_that_falls_silent_is_the_kernel_s_fault(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kdb, "ANSWER", 0.1)
    with over_tcp(kernel, {}) as machine, pytest.raises(KernelFault) as fault:
        machine.read(ADDRESS, 4)
    assert fault.value.signature is Signature.HANG


def test_what_only_others_can_do_is_said_so(kernel: Kernel) -> None:
    with over_tcp(kernel, {}) as machine:
        for use in (
            machine.send_break,
            machine.executed,
            lambda: machine.read_physical(0, 4),
            lambda: machine.resets(lambda: None, 1),
            machine.open_gdbstub,
        ):
            with pytest.raises(MachineryError, match=r"tcp:127\.0\.0\.1:"):
                use()
    assert machine.by_hand == ""
