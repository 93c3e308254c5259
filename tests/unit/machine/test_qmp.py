# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU writes and says, as it was seen of 7.2."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import socket
import threading
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.machine import qmp
from kstep.machine.qmp import EXECUTED, Monitor

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = b"""\
Trace 0: 0x7f118511c3c0 [0000000000005001/ffff80000823036c/00000021/ff000200]\x20
Stopped execution of TB chain before 0x7f118511c640 [ffff800008010a80]\x20
Trace 1: 0x7f118511c500 [0000000000005001/0000ffff9a3036c4/00000021/ff000200] name
"""


def test_the_log_of_executed_code() -> None:
    assert [match["pc"] for match in EXECUTED.finditer(LOG)] == [
        b"ffff80000823036c",
        b"0000ffff9a3036c4",
    ]


class Answering(Monitor):
    """A monitor of a guest whose CPU is at the exception levels given, stop by stop."""

    def __init__(self, levels: Iterator[str]) -> None:
        super().__init__(Path("none"), Path())
        self.levels = levels
        self.said: list[str] = []

    def _command(self, name: str, **arguments: object) -> object:
        self.said.append(name)
        if "command-line" not in arguments:
            return {}
        return f"CPU#0\nPSTATE=80000005 N--- EL{next(self.levels)}\nFPU disabled\n"


def test_a_guest_is_stopped_in_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "BETWEEN_STOPS", 0.0)
    monitor = Answering(iter(("0t", "0t", "1h")))
    monitor.stop_in_kernel()
    look = ["stop", "human-monitor-command"]
    assert monitor.said == [*look, "cont", *look, "cont", *look]


def test_a_guest_that_never_enters_its_kernel_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(qmp, "BETWEEN_STOPS", 0.0)
    monitor = Answering(repeat("0t"))
    with pytest.raises(MachineryError, match="always in user space"):
        monitor.stop_in_kernel()


def test_a_machine_that_is_gone_has_died(tmp_path: Path) -> None:
    with Monitor(tmp_path / "none", tmp_path) as monitor, pytest.raises(MachineryError) as error:
        monitor.send_break()
    assert error.value.signature is Signature.MACHINE_DIED


def serve(listener: socket.socket) -> None:
    """Greet as QEMU does, accept the first command, and answer nothing any more."""
    with (
        contextlib.suppress(OSError),  # it has hung up
        listener,
        listener.accept()[0] as client,
        client.makefile("rw") as lines,
    ):
        version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}
        print(json.dumps({"QMP": {"version": version, "capabilities": []}}), file=lines, flush=True)
        lines.readline()  # qmp_capabilities, which has no id
        print(json.dumps({"return": {}}), file=lines, flush=True)
        while lines.readline():
            pass


def unwind(*_: object) -> None:
    raise SystemExit(1)


def test_a_signal_amid_a_command_leaves_no_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "qmp"))
    listener.listen()
    server = threading.Thread(target=serve, args=(listener,))
    server.start()
    before = signal.signal(signal.SIGALRM, unwind)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(SystemExit), Monitor(tmp_path / "qmp", tmp_path) as monitor:
            monitor.send_break()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    server.join()
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
