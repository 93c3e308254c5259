# SPDX-License-Identifier: GPL-2.0-only
"""What ``./inv verify`` costs its user: beside what QEMU needs, and until the first verdict."""

from __future__ import annotations

import difflib
import os
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError, RequestError
from kstep.bench.cold import CHANGED
from kstep.results.cell import BASE
from kstep.results.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EMULATOR = "qemu-system-aar"  # as the kernel shortens the names of processes
TICK = os.sysconf("SC_CLK_TCK")
MOMENT = 0.2  # seconds between two looks
PATIENCE = 3600.0  # seconds until a verdict; all objects may have to be compiled
SAVED = "saved.mbox"


def verify_over_qemu(root: Path, folder: Path, *options: str) -> float:
    """Compare the time of a run on all cores with the CPU time that its QEMUs used.

    Whatever else emulates arm64 on the host meanwhile is counted too. Raises MachineryError for a
    run without verdict.
    """
    with _cpu_seconds() as used:
        began = time.perf_counter()
        done = _verify(root, folder, *options).wait()
        seconds = time.perf_counter() - began
    if done not in {0, 1} or not used:
        raise MachineryError(f"verify ended with status {done}", details=_said(folder))
    return seconds * (os.cpu_count() or 1) / sum(used.values())


def seconds_to_verdict(root: Path, folder: Path, source: Path, *options: str) -> float:
    """Return the seconds from a patch that was just saved to the first result of its kernel."""
    before = (source / CHANGED).read_text()
    after = f"{before}const long kstep_bench = {time.time_ns()};\n"  # no kernel is at hand
    one, other = (each.splitlines(keepends=True) for each in (before, after))
    diff = "".join(difflib.unified_diff(one, other, f"a/{CHANGED}", f"b/{CHANGED}"))
    series = folder / SAVED
    header = "From x Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nSubject: [PATCH] a number"
    series.write_text(f"{header}\n\n---\n{diff}-- \n")
    began = time.perf_counter()
    process = _verify(root, folder, f"--series={series}", "--sessions=quick", *options)
    try:
        while not _has_verdict(folder / "run"):
            if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise MachineryError("verify came to no verdict", details=_said(folder))
            time.sleep(MOMENT / 4)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def _verify(root: Path, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            [str(root / "inv"), "verify", f"--out={folder / 'run'}", *options],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def _said(folder: Path) -> tuple[str, ...]:
    return tuple((folder / "said").read_text(errors="replace").splitlines()[-8:])


def _has_verdict(run: Path) -> bool:
    with suppress(RequestError, OSError):  # not there yet
        return any(each.cell.variant != BASE for each in load(run).cells)
    return False


@contextmanager
def _cpu_seconds() -> Iterator[Mapping[str, float]]:
    """Collect the CPU seconds of each QEMU that starts meanwhile, in a container too."""
    before = set(_emulators())
    used: dict[str, float] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(MOMENT):
            used.update({k: each for k, each in _emulators().items() if k not in before})

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield used
    finally:
        done.set()
        thread.join()


def _emulators() -> dict[str, float]:
    """Return the CPU seconds of each QEMU, by PID and start; see proc(5)."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            pid, _, rest = path.read_text(errors="replace").partition(" (")
            name, _, fields = rest.rpartition(") ")
            values = fields.split()
            if name == EMULATOR:
                found[f"{pid} {values[19]}"] = (int(values[11]) + int(values[12])) / TICK
    return found
