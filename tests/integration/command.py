# SPDX-License-Identifier: GPL-2.0-only
"""``./inv verify``, or bisect, as a user runs it: in a process of its own, watched and ended."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors

import docker
from kstep.base import temporary
from kstep.results import record
from kstep.toolchain import LABEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from docker.models.containers import Container

ROOT = Path(__file__).parents[2]
MOMENT = 5.0  # seconds for a process to end after a signal
PATIENCE = 1800.0  # seconds for a run; a kernel may have to be built for it


def git(folder: Path, *arguments: str, given: str = "") -> str:
    """Run git with a fixed author."""
    clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull}
    who = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    return subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env=clean,
        input=given,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@dataclass(frozen=True)
class Run:
    """A run that has ended; ``said`` is its whole output."""

    status: int
    said: str
    folder: Path

    @property
    def results(self) -> dict[str, Any]:
        """The contents of results.json."""
        found: dict[str, Any] = json.loads((self.folder / "results.json").read_text())
        return found

    def cells(self, variant: str, session: str | None = None) -> list[dict[str, Any]]:
        """Return the cells of a variant, or of one session of it; there must be some."""
        found = [
            cell
            for cell in self.results["cells"]
            if cell["variant"] == variant and session in (None, cell["session"])
        ]
        assert found, f"no cell of {variant} {session or ''}:\n{self.said}"
        return found


class Verify(AbstractContextManager["Verify"]):
    """A run in progress, in a session of its own, with its own folder for temporary files.

    ``goes_on`` is whether it resumes the run that is already in ``scratch``.
    """

    def __init__(
        self, scratch: Path, *options: str, command: str = "verify", goes_on: bool = False
    ) -> None:
        self.folder = scratch / "run"
        self.temporary = scratch / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=goes_on)
        self._log = scratch / "said"
        arguments = [f"--{'resume' if goes_on else 'out'}={self.folder}", *options]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                # Tests that run in the background ignore these signals.
                ["env", "--default-signal=INT,HUP", ROOT / "inv", command, *arguments],
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self.temporary)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._family: set[int] = set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self.end_by(signal.SIGTERM, group=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._process.kill()
            self._process.wait()

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def wait(self, patience: float = PATIENCE) -> Run:
        """Wait for its end, for some seconds."""
        status = self._process.wait(patience)
        return Run(status, self.said, self.folder)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds; the run must not end before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self._process.poll() is None, f"ended before {what}:\n{self.said}"
            assert time.monotonic() < deadline, f"no {what}:\n{self.said}"
            time.sleep(0.02)

    @property
    def runs_on(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def finished_cells(self) -> int:
        """How many cells are recorded; the file is always complete."""
        path = self.folder / "results.json"
        if not path.exists():
            return 0
        json.loads(path.read_text())
        return len(record.load(self.folder).cells)

    def end_by(self, number: signal.Signals, *, group: bool) -> None:
        """Send a signal, to the process or, as a terminal does, to its group."""
        self._family = _descendants(self._process.pid)
        (os.killpg if group else os.kill)(self._process.pid, number)

    def kill_processes(self, *, main: bool, workers: bool) -> None:
        """Kill kstep itself, its workers, or both at once, by SIGKILL: none can clean up."""
        self._family = _descendants(self._process.pid)
        victims = [self._process.pid] * main + self.workers * workers
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._family = self._family if main else set(victims)

    @property
    def workers(self) -> list[int]:
        """The processes that run boots now."""
        return [pid for pid in _descendants(self._process.pid) if "spawn_main" in _command(pid)]

    def runs(self, program: str) -> bool:
        """Whether a program that the run started, in a container or not, is running."""
        return bool(self._programs(program))

    def kill(self, program: str) -> None:
        """Kill a program that the run started, as the kernel does when memory runs out."""
        for pid in self._programs(program):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def left_behind(self, seconds: float = MOMENT) -> list[str]:
        """Return what is left of ended or killed runs, ``seconds`` later.

        That is their processes, containers and files. Python's resource tracker ends a moment
        after the run, because it must notice that first.
        """
        deadline = time.monotonic() + seconds
        while (found := self._left()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _left(self) -> list[str]:
        processes = [f"process {_command(pid)}" for pid in self._family if _command(pid)]
        containers = [f"container {each.name}" for each in self._containers()]
        files = [str(path) for path in self.temporary.iterdir() if self._is_theirs(path)]
        files += [
            str(path) for path in temporary.IN_MEMORY.glob("kstep-*") if self._is_theirs(path)
        ]
        halves = [str(path) for path in self.folder.rglob(".kstep-*")]
        return processes + containers + files + halves

    def _is_theirs(self, path: Path) -> bool:
        match = temporary.NAME.fullmatch(path.name)
        return match is None or int(match["owner"].partition("-")[0], 16) in self._family

    def _children(self, program: str) -> list[int]:
        return [pid for pid in _descendants(self._process.pid) if _command(pid).startswith(program)]

    def _programs(self, program: str) -> list[int]:
        """Return the PIDs of a program, in a container or not."""
        found = self._children(program)
        for container in self._containers():
            with contextlib.suppress(docker.errors.APIError):  # it has just ended
                top = container.top()
                pid, command = (top["Titles"].index(title) for title in ("PID", "CMD"))
                rows = [row for row in top["Processes"] or () if row[command].startswith(program)]
                found += [int(row[pid]) for row in rows]
        return found

    def _containers(self) -> list[Container]:
        owners = self._family or _descendants(self._process.pid)
        client = None
        try:
            client = docker.from_env()
            listed = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
        except docker.errors.DockerException:  # the toolchain is the host's
            return []
        return [each for each in listed if int(each.labels[LABEL].partition("-")[0], 16) in owners]


def verify(scratch: Path, *options: str) -> Run:
    """Run ``./inv verify`` to its end."""
    with Verify(scratch, *options) as going:
        return going.wait()


def _command(pid: int) -> str:
    """Return the command line of a process; empty if it is gone, or dead and not reaped."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(argv).decode(errors="replace").strip()


def _descendants(pid: int) -> set[int]:
    """Return a process and those that descend from it, now."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def patch(source: Path, name: str, old: str, new: str) -> str:
    """Return the patch that replaces ``old``, which is once in a file of a tree, with ``new``."""
    before = (source / name).read_text()
    assert before.count(old) == 1, f"{name} has {old!r} {before.count(old)} times"
    after = before.replace(old, new)
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"a/{name}",
        f"b/{name}",
    )
    return "".join(lines)
