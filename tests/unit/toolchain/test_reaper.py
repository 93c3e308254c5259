# SPDX-License-Identifier: GPL-2.0-only
"""What a killed kstep has left is removed, once the last of its processes is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base import owner, temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
# Seconds: what the design promises, stretched where others keep the machine busy.
SOON = 2.0 * min(max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0), 5.0)

KSTEP = """
import multiprocessing, os, sys, tempfile, time
from pathlib import Path
from kstep.base import temporary
from kstep.toolchain import HostToolchain, reaper

def work(held):
    made = tempfile.mkdtemp(prefix=temporary.prefix())
    print(os.getpid(), made, flush=True)
    reaper.hold(held)
    HostToolchain("a test").run(["sh", "-c", f"sleep {sys.argv[3]} & wait"], cwd=Path("/"))

if __name__ == "__main__":
    reaper.start(HostToolchain("a test"), [Path(sys.argv[1])])
    reaper.also(Path(sys.argv[2]))
    Path(sys.argv[1], "." + temporary.prefix() + "entry").mkdir()
    Path(sys.argv[2], "." + temporary.prefix() + "results.json").write_text("half")
    context = multiprocessing.get_context("spawn")
    context.Process(target=work, args=(reaper.held(),), daemon=True).start()
    with temporary.folder():
        time.sleep(60)
"""


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Look until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def kstep(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a kstep that has made things, with a worker that has; give it and the worker's number."""
    script = tmp_path / "main.py"
    script.write_text(KSTEP)
    for name in ("tmp", "cache", "run"):
        (tmp_path / name).mkdir()
    with subprocess.Popen(
        [sys.executable, script, tmp_path / "cache", tmp_path / "run", "98.76"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as main:
        assert main.stdout is not None
        worker, made = main.stdout.readline().rstrip("\n").split(maxsplit=1)  # it may have blanks
        assert Path(made).is_dir()
        try:
            yield main, int(worker)
        finally:
            with suppress(ProcessLookupError):  # the last of them has ended
                os.killpg(main.pid, signal.SIGKILL)


def left(tmp_path: Path) -> list[Path]:
    """Name what is left."""
    return [
        path
        for name in ("tmp", "cache", "run")
        for path in (tmp_path / name).iterdir()
        if temporary.NAME.fullmatch(path.name)
    ]


def running(are: Callable[[list[str]], bool]) -> list[str]:
    """Name the processes whose command line is such. (A bare Debian has no pgrep.)"""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            if are(path.read_bytes().decode(errors="replace").rstrip("\0").split("\0")):
                found.append(path.parent.name)
    return found


def builds() -> list[str]:
    """Name the children of children."""
    return running(lambda words: words == ["sleep", "98.76"])


def watchers(tmp_path: Path) -> list[str]:
    """Name the watching processes."""
    return running(lambda w: "kstep.toolchain.reaper" in w and str(tmp_path / "cache") in w)


def test_if_all_are_killed_at_once_nothing_is_left(tmp_path: Path) -> None:
    with kstep(tmp_path) as (main, _worker):
        assert len(left(tmp_path)) == 4
        (tmp_path / "tmp/notes").touch()
        assert within(10, lambda: watchers(tmp_path) and builds())
        os.killpg(main.pid, signal.SIGKILL)
        assert within(SOON, lambda: not left(tmp_path) and not builds())
        assert (tmp_path / "tmp/notes").exists()
    assert within(10, lambda: not watchers(tmp_path))


def test_what_a_worker_has_stays_until_it_ends(tmp_path: Path) -> None:
    """It goes on for a moment when kstep itself has been killed: it has a machine to end."""
    with kstep(tmp_path) as (main, worker):
        main.kill()
        main.wait()
        time.sleep(0.5)
        assert len(left(tmp_path)) == 4
        os.kill(worker, signal.SIGKILL)
        assert within(SOON, lambda: not left(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_ends_kstep_does_not_end_the_watch(tmp_path: Path, number: signal.Signals) -> None:
    with kstep(tmp_path) as (main, _worker):
        assert within(10, lambda: watchers(tmp_path))
        time.sleep(1)  # until it has come to ignore them
        for pid in watchers(tmp_path):
            os.kill(int(pid), number)
        os.killpg(main.pid, signal.SIGKILL)
        assert within(SOON, lambda: not left(tmp_path))


def test_what_was_left_before_is_removed_at_the_start(tmp_path: Path) -> None:
    """Somebody has killed the watch too."""
    pid, started, place = owner.name().split("-")
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / f"kstep-{pid}-{int(started, 16) - 1:x}-{place}-abc").mkdir()
    subprocess.run(
        [
            *(sys.executable, "-c"),
            (
                "from kstep.toolchain import HostToolchain, reaper;"
                "reaper.start(HostToolchain('a test'), [])"
            ),
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        check=True,
    )
    assert not list((tmp_path / "tmp").iterdir())
