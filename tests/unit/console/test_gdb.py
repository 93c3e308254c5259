# SPDX-License-Identifier: GPL-2.0-only
"""gdb's machine interface, against what real gdbs said and against one that goes wrong."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console import gdb as gdbs
from kstep.console.gdb import Gdb, GdbRefusedError
from kstep.console.kdb import BREAKPOINT_HIT, STEPPED
from kstep.toolchain import HostToolchain, Process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROMPT = "(gdb) \n"
# As gdb 13.1 said them, over the serial line of a 6.1.192.
STOPPED = (
    '*stopped,reason="end-stepping-range",frame={addr="0xffff8000081584e4",func="set_fs_pwd",'
    'args=[{name="fs",value="0xffff000000881040"}],file="fs/fs_struct.c",line="36",'
    'arch="aarch64"},thread-id="24",stopped-threads="all"\n'
)
HIT = STOPPED.replace("end-stepping-range", "breakpoint-hit")
SIGNAL = STOPPED.replace(
    'reason="end-stepping-range"', 'reason="signal-received",signal-name="SIGINT"'
)
RUNNING = '^running\n*running,thread-id="all"\n(gdb) \n'


class FakeGdb(Process):
    """What plays gdb at its terminal: ``answers`` by command, each sent as it stands."""

    def __init__(self, terminal: Path, answers: Mapping[str, str]) -> None:
        self._fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
        self._answers = answers
        self._alive = True
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        os.write(self._fd, b'=thread-group-added,id="i1"\n' + PROMPT.encode())
        said = b""
        while data := self._read():
            *lines, said = (said + data).split(b"\n")
            for line in lines:
                token = line[: len(line) - len(line.lstrip(b"0123456789"))].decode()
                command = line.decode().removeprefix(token)
                answer = self._answers.get(command, "^done\n")
                if answer == "dies":
                    self._alive = False
                    return
                marked = answer.replace("^", f"{token}^", 1)
                os.write(self._fd, marked.encode())

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, 4096)
        except OSError:  # the terminal is gone
            return b""

    def alive(self) -> bool:
        """Whether it has not died as it was to."""
        return self._alive

    def output(self) -> str:
        """Say the last words."""
        return "" if self._alive else "Segmentation fault\n"

    def kill(self) -> None:
        """Nothing is to be done: the thread ends with its terminal."""
        self._alive = False


class FakeToolchain(HostToolchain):
    """Starts what plays gdb."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        super().__init__("a test")
        self.answers = answers

    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        lines: Sequence[Path] = (),
        devices: Sequence[Path] = (),
    ) -> Process:
        """Start it on the first of the lines."""
        del argv, readable, writable, devices
        return FakeGdb(lines[0], self.answers)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes, wait no longer than a test may."""
    monkeypatch.setattr(gdbs, "ANSWER", 0.3)
    monkeypatch.setattr(gdbs, "STOP", 0.3)


@contextmanager
def started(answers: Mapping[str, str], *, kernel_runs: bool = True) -> Iterator[Gdb]:
    """Start a gdb that answers so."""
    with Gdb(
        FakeToolchain(answers), Path("vmlinux"), scale=1.0, kernel_runs=lambda: kernel_runs
    ) as gdb:
        yield gdb


def test_results_and_text_are_read() -> None:
    answers = {
        "-break-insert *&set_fs_pwd": '^done,bkpt={number="1",addr="0xffff8000081584e0"}\n',
        "-data-list-register-values x " + " ".join(map(str, range(34))): (
            '^done,register-values=[{number="0",value="0x1"},{number="31",value="0xff"},'
            '{number="33",value="0x80400005"}]\n'
        ),
        '-interpreter-exec console "print \\"a\\\\n\\""': (
            '~"$1 = \\"a\\\\n\\"\\n"\n@"kdb\\n"\n^done\n'
        ),
    }
    with started(answers) as gdb:
        point = gdb.breakpoint("set_fs_pwd")
        assert (point.number, point.address) == (1, 0xFFFF_8000_0815_84E0)
        assert gdb.registers() == {"x0": 1, "sp": 0xFF, "pstate": 0x8040_0005}
        assert gdb.type(r'print "a\n"') == '$1 = "a\\n"\nkdb\n'


@pytest.mark.parametrize(
    ("said", "reason"), [(STOPPED, STEPPED), (HIT, BREAKPOINT_HIT), (SIGNAL, "SIGINT")]
)
def test_a_stop_has_a_reason_and_a_place(said: str, reason: str) -> None:
    with started({"-exec-step-instruction": RUNNING + said}) as gdb:
        stop = gdb.step_instruction()
        assert (stop.reason, stop.pc) == (reason, 0xFFFF_8000_0815_84E4)


def test_what_gdb_refuses_is_told() -> None:
    answers = {"-exec-finish": '^error,msg="\\"finish\\" not meaningful in the outermost frame."\n'}
    with started(answers) as gdb, pytest.raises(GdbRefusedError, match="outermost frame"):
        gdb.run("-exec-finish")


def test_what_gdb_refuses_after_it_said_running_is_no_hang() -> None:
    """As gdb 13.1 said it of a breakpoint that it could not insert."""
    late = (
        '&"Warning:\\n"\n&"Cannot insert breakpoint 1.\\n"\n'
        '4^error,msg="Command aborted."\n(gdb) \n'
    )
    refused = pytest.raises(
        GdbRefusedError, match="gdb: no stop: Warning: Cannot insert breakpoint 1"
    )
    with started({"-exec-continue": RUNNING + late}) as gdb:
        gdb.resume()
        with refused:
            gdb.wait("stop")


def test_a_step_that_never_comes_back_is_the_kernels_fault() -> None:
    with (
        started({"-exec-step-instruction": RUNNING}) as gdb,
        pytest.raises(KernelFault, match="gdb sees no stop") as caught,
    ):
        gdb.step_instruction()
    assert caught.value.signature is Signature.RUNAWAY


@pytest.mark.parametrize("answer", ["", RUNNING])
def test_silence_while_the_kernel_is_stopped_is_not(answer: str) -> None:
    with (
        started({"-exec-step-instruction": answer}, kernel_runs=False) as gdb,
        pytest.raises(MachineryError, match="gdb: no"),
    ):
        gdb.step_instruction()


def test_a_gdb_that_dies_is_no_verdict() -> None:
    with (
        started({"-exec-continue": "dies"}) as gdb,
        pytest.raises(MachineryError, match="gdb ended") as caught,
    ):
        gdb.resume()
    assert "Segmentation fault" in caught.value.details


@pytest.mark.parametrize("garbage", ["^do", "what?\n\n(gdb) \n", '^done,a={"\n', "\x00\xff\n"])
def test_what_is_no_record_is_no_verdict(garbage: str) -> None:
    with started({"-exec-continue": garbage}) as gdb, pytest.raises(MachineryError):
        gdb.resume()
