# SPDX-License-Identifier: GPL-2.0-only
"""A toolchain whose machine is a thread with a shell: for what goes on around a machine.

What the shell does is told by the command: ``true``, ``false``, ``panic``, ``silence``, ``taint``,
``power-off`` (the machine ends) and ``kill`` (so does the process that it is in).
"""

from __future__ import annotations

import os
import select
import signal
import threading
from typing import TYPE_CHECKING

from kstep.session import taint
from kstep.toolchain import Process, Toolchain, ignore
from tests.unit.farend import TYPED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kstep.toolchain.limits import Limits

READY = b"[    0.2] Run /init\r\nKSTEP-READY 6.1.192 cpus=1\r\n"
ANSWERS = {
    "true": "KSTEP-END {n} 0\r\n",
    "false": "KSTEP-END {n} 1\r\n",
    "panic": "Kernel panic - not syncing: asked for\r\n---[ end Kernel panic ]---\r\n",
    "silence": "",
    "taint": "KSTEP-END {n} 0\r\n",
    "late-splat": "KSTEP-END {n} 0\r\n",
    "hush": "KSTEP-END {n} 0\r\n",
    taint.COMMAND: "{taint}\r\nKSTEP-END {n} 0\r\n",
}


# What the taint is after a command; also what is no number.
TAINTS = {"taint": "4608", "late-splat": "BUG: late\r\n4096", "hush": "hush"}


class FakeProcess(Process):
    """A thread at the far end of the line; ``log`` notes that it began and ended."""

    def __init__(self, line: Path, log: Path, greeting: bytes) -> None:
        self._far = os.open(line, os.O_RDWR | os.O_NOCTTY)
        self._note = log / f"{os.getpid()}-{line.name}-{len(list(log.iterdir()))}"
        self._note.touch()
        self._runs = True
        self._taint = "4096"  # a module of nobody's, which is no fault
        os.write(self._far, greeting)
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        typed = b""
        while self._runs:
            if not select.select([self._far], [], [], 0.01)[0]:
                continue
            typed += os.read(self._far, 4096)
            *lines, typed = typed.split(b"\n")
            for line in lines:
                self._answer(line.decode())

    def _answer(self, line: str) -> None:
        match = TYPED.fullmatch(line)
        assert match is not None
        if match["command"] == "power-off":
            self._runs = False
        elif match["command"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            if match["command"] in TAINTS:
                self._taint = TAINTS[match["command"]]
            answer = ANSWERS[match["command"]].format(n=match["number"], taint=self._taint)
            if match["command"] == taint.COMMAND and self._taint == "hush":
                return
            os.write(self._far, f"{line}\r\n{answer}".encode())

    def alive(self) -> bool:
        """Whether it plays on."""
        return self._runs

    def output(self) -> str:
        """Say what QEMU would."""
        return "qemu-system-aarch64: terminating\n"

    def kill(self) -> None:
        """End the thread, and note it."""
        self._runs = False
        self._thread.join()
        os.close(self._far)
        self._note.rename(self._note.with_suffix(".ended"))


class FakeToolchain(Toolchain):
    """Runs nothing but machines that are none."""

    kind = "fake"
    debian = "bookworm"

    def __init__(self, log: Path, greeting: bytes = READY) -> None:
        super().__init__("test")
        self.log = log
        self.greeting = greeting
        self.swept = False

    def end_orphans(self, *, own: bool = False) -> None:  # noqa: ARG002 -- a thread ends with its process
        """Note that it was asked for."""
        self.swept = True

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        limits: Limits | None = None,
        at: Mapping[Path, Path] | None = None,
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run nothing."""
        raise NotImplementedError

    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        lines: Sequence[Path] = (),
        devices: Sequence[Path] = (),
    ) -> Process:
        """Start what plays a machine."""
        del argv, readable, writable, devices
        (line,) = lines
        return FakeProcess(line, self.log, self.greeting)
