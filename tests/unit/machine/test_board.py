# SPDX-License-Identifier: GPL-2.0-only
"""A machine that is not ours: its line, what is wrong with it, and which kernel it runs."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import socket
import sys
import threading
import tty
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Signature
from kstep.build.kernel import Kernel
from kstep.console import console as consoles
from kstep.machine import board
from kstep.machine.board import Board, Line, lacks
from kstep.machine.hardware import Hardware
from kstep.session import session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kstep.toolchain import Toolchain

SESSIONS = session.load(Path(__file__).parents[2] / "sessions")
NOTE = bytes.fromhex("040000001400000003000000474e5500") + bytes(range(20))
AT = "ffff800008000000"


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """Give a kernel whose image has a build id."""
    (tmp_path / "Image").write_bytes(b"code" + NOTE + b"data")
    (tmp_path / "System.map").write_text(f"{AT} T _text\n")
    return Kernel("key", tmp_path, True, "", "", "", 0.0, 0)  # noqa: FBT003 -- cached


@contextmanager
def device(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Give the name of a serial device; what is typed there is answered."""
    near, far = pty.openpty()
    tty.setraw(far)

    def play() -> None:
        try:
            while typed := os.read(near, 4096):
                os.write(near, answer(typed))
        except OSError:
            return

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        os.close(far)
        thread.join(1)
        os.close(near)


def says(note: bytes = NOTE, at: str = AT, kgdboc: str = "ttyAMA0") -> Callable[[bytes], bytes]:
    """Make a guest that says which kernel it runs."""
    text = f"Linux version 6.1\n{note.hex()}\n{at} T _text\nkgdboc={kgdboc}\nKSTEP-END 0 0\n"
    return lambda typed: typed + text.replace("\n", "\r\n").encode() if b"cat " in typed else b""


def boot(kernel: Kernel, answer: Callable[[bytes], bytes], reset: str = "") -> None:
    """Open the line to a guest and boot it."""
    with device(answer) as name:
        line = Line.parse(f"serial:{name}", reset)
        with Board(line, kernel, Path(), Hardware(), cast("Toolchain", None)) as machine:
            machine.boot()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes, wait no longer than a test may."""
    monkeypatch.setattr(consoles, "LOOK", 0.05)


# -- the line


@pytest.mark.parametrize(
    "spec",
    ["", "ttyUSB0", "serial:ttyUSB0", "serial:/dev/x@fast", "tcp:host", "tcp:h:0", "tcp:h:65536"],
)
def test_a_line_of_no_form(spec: str) -> None:
    with pytest.raises(RequestError, match="it is serial:/dev/ttyUSB0"):
        Line.parse(spec, "")


def test_what_is_not_there_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such device"):
        Line.parse(f"serial:{tmp_path}/ttyUSB0", "").require()
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="no serial port"):
        Line.parse(f"serial:{tmp_path}/file", "").require()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RequestError, match="nobody listens there"):
        Line.parse(f"tcp:127.0.0.1:{port}", "").require()
    Line.parse(f"tcp:127.0.0.1:{port}", "true").require()  # a reset may bring it


def test_a_device_that_another_has() -> None:
    with device(lambda _typed: b"") as name:
        line = Line.parse(f"serial:{name}", "")
        with (
            contextlib.closing(line.open()),
            pytest.raises(RequestError, match="another program has it"),
        ):
            line.require()


def test_a_reset_that_fails() -> None:
    with pytest.raises(MachineryError, match="ended with status 3") as error:
        Line.parse("tcp:localhost:1", "echo no relay; exit 3").send_reset()
    assert error.value.details == ("no relay",)


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
        with Board(line, kernel, Path(), Hardware(), cast("Toolchain", None)) as machine:
            machine.boot()
            with pytest.raises(MachineryError, match="BREAK"):
                machine.send_break()


def test_a_program_ends_with_the_line(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    stubborn = (
        f"trap '' HUP INT TERM; echo $$ >{shlex.quote(str(note))}; echo up;"
        " while :; do sleep 1; done"
    )
    port = Line.parse(f"exec:{shlex.join(['sh', '-c', stubborn])}", "").open()
    assert os.read(port.fileno(), 99) == b"up\n"  # raw: no return is put before it
    port.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_program_that_ends_is_a_line_that_is_lost(kernel: Kernel) -> None:
    line = Line.parse("exec:true", "")
    with (
        Board(line, kernel, Path(), Hardware(), cast("Toolchain", None)) as machine,
        pytest.raises(MachineryError, match="the serial line is") as error,
    ):
        machine.boot()
    assert error.value.signature is Signature.CONSOLE_LOST


def test_a_place_of_labgrid_is_its_client() -> None:
    line = Line.parse("labgrid:rack1", "")
    assert line.program == ("labgrid-client", "-p", "rack1", "console")
    assert line.reset == "labgrid-client -p rack1 power cycle"
    assert Line.parse("labgrid:rack1", "reset-it").reset == "reset-it"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("exec:no-such-program x", "there is no program no-such-program"),
        ("exec:sh -c 'x", "mend the quoting"),
    ],
)
def test_a_program_that_is_none(spec: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        Line.parse(spec, "").require()


# -- who answers


def test_the_kernel_that_was_named(kernel: Kernel) -> None:
    boot(kernel, says())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says(note=NOTE[:-1] + b"x"), "another kernel"),
        (says(at="ffffb00008000000"), "nokaslr"),
        (says(kgdboc=""), "kgdb has no line"),
        (lambda _typed: b"KSTEP-END 0 0\r\n", "cannot say which kernel"),
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


# -- what cannot be run there


def test_sessions_that_only_qemu_can_run() -> None:
    assert set(board.NEEDS_QEMU) <= set(SESSIONS)
    assert lacks(SESSIONS["step-in-order"], "vfs_mkdir") is None
    assert lacks(SESSIONS["kdb-panic"], None) is not None
    assert "processors" in str(lacks(SESSIONS["step-smp"], "two_free"))
    assert "cortex-a57" in str(lacks(SESSIONS["step-atomics"], "exclusive"))
    assert "command line" in str(lacks(SESSIONS["step-pnmi"], "set_user_nice"))
    assert "EL2" in str(lacks(SESSIONS["step-at-el2"], "step"))
