# SPDX-License-Identifier: GPL-2.0-only
"""Boots of a kernel that is none, with cells that end in every way; see fakeqemu."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from kstep.build.kernel import Kernel
from kstep.results.cell import Cell
from kstep.run.boot import Boot
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """\
from kstep.base.errors import MachineryError
from kstep.machine.hardware import Hardware
from kstep.session.session import Stepped, session

WORDS = (
    *("true", "false", "panic", "silence", "power_off", "kill", "raises", "gives_up"),
    *("taint", "excused_taint", "late_splat", "hush", "flakes"),
)
flaked = []


@session(claim="x", cases=tuple(Stepped(word, word.replace("_", "-"), "") for word in WORDS))
def does(target, case):
    target.metrics["tried"] = 1
    if case.name == "raises":
        raise ValueError("no such thing")
    if case.name == "flakes" and not flaked:
        flaked.append(target.run("true"))
        raise MachineryError("once")
    if case.name == "flakes":
        return
    if case.name == "gives_up":
        raise MachineryError("cannot", details=("one", "two"))
    if case.name == "excused_taint":
        with target.excusing("WARNING"):
            target.run("taint")
        return
    target.run(case.trigger)
"""


def write_kernel(folder: Path) -> None:
    """Write the files of a kernel that is none."""
    (folder / "System.map").write_text("ffff800008000000 T _text\n")
    (folder / "Image").write_bytes(b"image")


def kernel_in(folder: Path) -> Kernel:
    """Return the kernel that write_kernel() has written."""
    return Kernel(
        key="x",
        folder=folder,
        cached=True,
        image_sha256=hashlib.sha256(b"image").hexdigest(),
        vmlinux_sha256="",
        config_sha256="",
        build_seconds=0.0,
        objects_compiled=0,
    )


class Bench:
    """A run's folder, a kernel's, that of the sessions, and what notes each machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.log = folder / "log"
        self.sessions = folder / "sessions"
        self.kernel_folder = folder / "kernel"
        for made in (self.folder, self.log, self.sessions, self.kernel_folder):
            made.mkdir(parents=True)
        (self.sessions / "does.py").write_text(SCRIPT)
        write_kernel(self.kernel_folder)
        self.initramfs = folder / "initramfs"
        self.initramfs.write_bytes(b"x")
        self.kernel = kernel_in(self.kernel_folder)

    def boot(self, *cases: str, variant: str = "none") -> Boot:
        """Put cases on one boot."""
        cells = tuple(
            Cell("t", "base", variant, "does", case, repeat) for repeat, case in enumerate(cases, 1)
        )
        return Boot(cells, self.kernel, self.initramfs, self.sessions, Accel.TCG)

    @property
    def started(self) -> int:
        """How many machines there were; each must have ended."""
        notes = list(self.log.iterdir())
        assert all(note.suffix == ".ended" for note in notes), notes
        return len(notes)
