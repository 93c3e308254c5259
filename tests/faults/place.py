# SPDX-License-Identifier: GPL-2.0-only
"""A place for runs in which all is kstep's own but the kernels and QEMU: see emulator.

Processes, ptys, temporary files, journal, record and reports are real, so whatever ends or breaks
a run ends or breaks it there as it does anywhere.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from kstep.base import temporary
from kstep.base.cache import Cache
from kstep.base.outcome import Outcome, Signature
from kstep.build.kconfig import Kconfig
from kstep.results import record
from kstep.results.cell import Cell
from kstep.run import inputs
from kstep.run.boot import Boot
from kstep.run.building import Built
from kstep.source.tree import Tree
from kstep.toolchain import HostToolchain, Versions, reaper
from kstep.toolchain.accel import Accel
from tests.unit.fakeboot import kernel_in, write_kernel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kstep.results.cell import CellRecord

ROOT = Path(__file__).parents[2]
CASES = ("one", "two", "three")
SESSION = """\
from kstep.session.session import Stepped, session


@session(claim="x", cases=tuple(Stepped(name, "true", "") for name in ("one", "two", "three")))
def does(target, case):
    for number in range(3):
        target.run(case.trigger)
        target.metrics["steps"] = number
"""
PATCH = """\
Subject: [PATCH] x

--- a/x
+++ b/x
@@ -1 +1 @@
-a
+b
"""
NO_VERDICT = (Signature.MACHINE_DIED, Signature.CONSOLE_LOST, Signature.INFRASTRUCTURE)
PATIENCE = 120.0  # seconds for a run, which takes two on an idle host
SOON = 2.0  # seconds until nothing is left, on an idle host


class Place:
    """A folder with a root of kstep's, a kernel that is none, a cache, and a QEMU that is none."""

    def __init__(self, folder: Path, runs: Runs | None = None, *, new: bool = True) -> None:
        self.folder, self._runs = folder, runs
        self.root, self.run, self.tmp = folder / "root", folder / "run", folder / "tmp"
        self.kernel_folder = folder / "kernel"
        self.initramfs = folder / "guest/initramfs"
        self.patch = folder / "fix.patch"
        self.log = folder / "said"
        if new:
            self._make()
        self.toolchain = HostToolchain("a test")
        self.cache = Cache(folder / "cache")
        self.kernel = kernel_in(self.kernel_folder)

    def _make(self) -> None:
        sessions = self.root / "tests/sessions"
        for made in (sessions, self.tmp, self.kernel_folder, self.initramfs.parent):
            made.mkdir(parents=True)
        for name in ("patches", "kconfigs", "docker"):
            (self.root / name).symlink_to(ROOT / name)
        (sessions / "does.py").write_text(SESSION)
        self.patch.write_text(PATCH)
        write_kernel(self.kernel_folder)
        (self.kernel_folder / "config").write_text("")
        self.initramfs.write_bytes(b"x")
        qemu = self.folder / "bin/qemu-system-aarch64"
        qemu.parent.mkdir()
        argv = ["/usr/bin/python3", "-I", "-S", str(ROOT / "tests/faults/emulator.py")]
        qemu.write_text(f'#!/bin/sh\nexec {shlex.join([*argv, str(self.folder)])} "$@"\n')
        qemu.chmod(0o755)

    @property
    def path(self) -> str:
        """The PATH with this place's QEMU."""
        return f"{self.folder / 'bin'}:{os.environ['PATH']}"

    def plan(self, *faults: Mapping[str, object] | None) -> None:
        """Say what happens to the next machines."""
        (self.folder / "plan.json").write_text(json.dumps(faults))
        (self.folder / "started").unlink(missing_ok=True)

    @property
    def machines(self) -> list[int]:
        """The processes that were machines, since the last plan."""
        try:
            return list(map(int, (self.folder / "started").read_text().split()))
        except FileNotFoundError:
            return []

    def boot(self, *cases: str) -> Boot:
        """Put cases on one boot."""
        cells = tuple(Cell("debian:6.1", "base", "none", "does", case, 1) for case in cases)
        sessions = self.root / "tests/sessions"
        return Boot(cells, self.kernel, self.initramfs, sessions, Accel.TCG)

    # -- a whole run, in a process of its own

    def prepare(self, *given: Any, **_: Any) -> Any:  # noqa: ANN401 -- plays preparation.prepare()
        """Prepare what is there already."""
        former = given[-1]
        known = {"guest": "1"}
        if former is not None:
            inputs.require_same(former, known)
        reaper.start(self.toolchain, self.cache.scratch_folders)
        tree = Tree("debian:6.1", "6.1.1", "", Path())
        sources = SimpleNamespace(actions={}, patches={})

        def built(name: str) -> Built:
            variants = ((SimpleNamespace(name=name), sources),)
            return Built(tree, Kconfig("base", {}), cast("Any", variants), self.kernel)

        tools = SimpleNamespace(
            suite="",
            toolchain=self.toolchain,
            versions={"gcc": Versions("gcc", "ld", "qemu", "gdb")},
            initramfs=SimpleNamespace(
                path=self.initramfs, busybox_version="", busybox_sha256="", sha256=""
            ),
        )
        return SimpleNamespace(
            toolchain=self.toolchain,
            tools=(tools,),
            tools_of=lambda _suite: tools,
            accel=Accel.TCG,
            trees=(tree,),
            initramfs=tools.initramfs,
            built=(built("none"), built("fix/1")),
            left_out=(),
            host=None,
            inputs=known,
        )

    def start(
        self, *, resume: bool = False, jobs: int = 1, env: Mapping[str, str] | None = None
    ) -> Started:
        """Start ``./inv verify``, in a session of its own."""
        self.log.write_bytes(b"")
        assert self._runs is not None
        return self._runs.start(folder=str(self.folder), jobs=jobs, resume=resume, env=env or {})

    @property
    def said(self) -> str:
        """What the run printed."""
        return self.log.read_text(errors="replace")

    def family(self) -> list[str]:
        """Return the commands of this place's processes that still run, by their TMPDIR."""
        mark = f"TMPDIR={self.tmp}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    argv = (process / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{process.name} {argv.decode(errors='replace')}")
        return found

    def left(self) -> list[str]:
        """Return what is left of runs: processes, temporary files, half of a file."""
        folders = [self.tmp, self.run, *self.cache.scratch_folders]
        files = [
            str(path)
            for folder in folders
            for path in folder.rglob("*")
            if temporary.NAME.fullmatch(path.name) or folder == self.tmp
        ]
        return [*self.family(), *files]

    def left_behind(self) -> list[str]:
        """Return what is left soon: multiplied by the load of this host."""
        load = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        end = time.monotonic() + SOON * min(load, 10.0)
        while (found := self.left()) and time.monotonic() < end:
            time.sleep(0.02)
        return found

    def cells(self) -> list[CellRecord]:
        """Return the cells that the run has recorded; each must have a result that may be."""
        if not (self.run / record.FILE).exists():
            return []
        json.loads((self.run / record.FILE).read_text())  # complete at every moment
        found = record.load(self.run).cells
        for each in found:
            judged = each.outcome is Outcome.PASS
            assert judged or each.signature in NO_VERDICT, (each, self.said)
            for earlier in each.earlier:
                assert earlier.signature in NO_VERDICT, (each, self.said)
        return found

    def require_next_run(self) -> None:
        """Run once more, or go on where the run was ended: all passes, and nothing is left."""
        before = self.cells()
        resume = bool((self.run / record.FILE).exists())
        if not resume:
            with suppress(OSError):  # it has no record: named anew, as a user would
                self.run.rename(tempfile.mkdtemp(dir=self.folder))
        self.plan()
        status = self.start(resume=resume).wait()
        assert status == 0, self.said
        after = self.cells()
        assert len(after) == 2 * len(CASES)
        assert {each.outcome for each in after} == {Outcome.PASS}
        # What it is compared with, the unpatched kernel, may have a result only now.
        kept = {each.cell: each.seconds for each in before if each.outcome is Outcome.PASS}
        assert kept.items() <= {each.cell: each.seconds for each in after}.items()
        assert self.left_behind() == []


class Started:
    """A run in a process of its own."""

    def __init__(self, server: subprocess.Popen[bytes]) -> None:
        assert server.stdout is not None
        self._answers = server.stdout
        self.pid = int(self._read())
        self._status: int | None = None

    def _read(self) -> bytes:
        return self._answers.readline()

    def poll(self) -> int | None:
        """Return the status if it has ended; a signal's is negative."""
        return self._status if self._ended(0) else None

    def wait(self) -> int:
        """Wait for its end; returns the status."""
        assert self._ended(PATIENCE), f"{self.pid} does not end"
        assert self._status is not None
        return self._status

    def _ended(self, seconds: float) -> bool:
        if self._status is None and select.select([self._answers], [], [], seconds)[0]:
            self._status = int(self._read())
        return self._status is not None


class Runs:
    """Starts runs, one at a time; see verify."""

    def __init__(self, preloaded: Path | None = None) -> None:
        self._server = subprocess.Popen(
            # What runs in the background ignores these signals.
            ["env", "--default-signal=INT,HUP,TERM", sys.executable, "-m", "tests.faults.verify"],
            cwd=ROOT,
            env={**os.environ, **({"LD_PRELOAD": str(preloaded)} if preloaded else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def start(self, **job: object) -> Started:
        """Start a run."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(job).encode() + b"\n")
        return Started(self._server)

    def end(self) -> None:
        """End what starts runs."""
        self._server.communicate()


def outcomes(cells: Sequence[CellRecord]) -> str:
    """Say in a word what cells came to."""
    if not cells:
        return "no cell"
    words = {str(each.signature or each.outcome) for each in cells}
    tried = {str(earlier.signature) for each in cells for earlier in each.earlier}
    return ", ".join(sorted(words) + sorted(f"{word} once" for word in tried))
