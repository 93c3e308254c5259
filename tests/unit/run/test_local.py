# SPDX-License-Identifier: GPL-2.0-only
"""Boots on processes side by side: each cell results once, whoever dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.run import local, process
from kstep.run.local import LocalProcesses
from kstep.toolchain.interface import family
from tests.unit.fakeboot import Bench
from tests.unit.fakeqemu import FakeToolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kstep.results.cell import Cell
    from kstep.run.boot import Boot, Result

ROOT = Path(__file__).parents[3]


class Heard:
    """What a scheduler said; ``at`` is called with the number of each word before it counts."""

    def __init__(self, at: Callable[[int], None] = lambda _number: None) -> None:
        self.results: list[Result] = []
        self.started: list[Cell] = []
        self.lines: list[str] = []
        self._at = at
        self._number = 0

    def on_start(self, cell: Cell) -> None:
        """Take a cell that begins."""
        self._count()
        self.started.append(cell)

    def on_result(self, result: Result) -> None:
        """Take a result."""
        self._count()
        self.results.append(result)

    def _count(self) -> None:
        self._number += 1
        self._at(self._number)

    def outcomes(self) -> dict[Cell, str]:
        """Return how each cell ended; it must have done so once."""
        found = {result.cell: result.signature or "pass" for result in self.results}
        assert len(found) == len(self.results)
        return {cell: str(word) for cell, word in found.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a bench."""
    return Bench(tmp_path)


def run(bench: Bench, boots: Sequence[Boot], jobs: int, heard: Heard) -> FakeToolchain:
    """Run boots, which must leave no process of ours."""
    toolchain = FakeToolchain(bench.log)
    try:
        LocalProcesses(jobs, heard.lines.append).run(
            boots, toolchain, bench.folder, heard.on_start, heard.on_result
        )
    finally:
        assert not multiprocessing.active_children()
        assert not left(bench.log)
        assert toolchain.swept
    return toolchain


def owners(log: Path) -> set[int]:
    """Return the processes that started machines."""
    return {int(note.name.partition("-")[0]) for note in log.iterdir()}


def left(log: Path) -> list[int]:
    """Return those of them that still run; one that has ended may wait for init to reap it."""
    found = []
    for owner in owners(log):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stat = Path(f"/proc/{owner}/stat").read_text()
            if stat.rpartition(")")[2].split()[0] != "Z":
                found.append(owner)
    return found


def kill_one() -> None:
    """Kill a worker as the kernel does when memory is short, if there is one.

    Not by multiprocessing, which forgets how a process ended if two threads wait for it.
    """
    for pid in family(os.getpid()):
        with contextlib.suppress(OSError):  # it has just ended
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                return


def wait_for(condition: Callable[[], object], seconds: float) -> bool:
    """Look until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# -- all goes well


def test_results_do_not_depend_on_how_many_work(bench: Bench) -> None:
    boots = [
        bench.boot("true", "false", variant="none"),
        bench.boot("panic", "true", variant="v6/1"),
        bench.boot("raises", variant="v6/2"),
    ]
    found = []
    for jobs in (1, 2, 8):
        heard = Heard()
        run(bench, boots, jobs, heard)
        assert sorted(heard.started, key=str) == sorted(heard.outcomes(), key=str)
        assert not heard.lines
        found.append(heard.outcomes())
    assert found[0] == found[1] == found[2]
    assert set(found[0]) == {cell for boot in boots for cell in boot.cells}
    assert bench.started == 3 * 5  # the cell that raises is tried twice


def test_nothing_to_run_is_run_at_once(bench: Bench) -> None:
    run(bench, [], 2, Heard())
    assert bench.started == 0


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_processes_are_too_few(jobs: int) -> None:
    with pytest.raises(RequestError, match=f"^--jobs {jobs}: must be 1 or more$"):
        LocalProcesses(jobs, print)


# -- a worker dies


SIX = {
    "none": ("true", "true", "panic"),
    "v6/1": ("false", "true", "true"),
}


@pytest.mark.parametrize("number", [1, 2, 4, 7, 12])
def test_a_worker_killed_at_any_word_costs_nothing(bench: Bench, number: int) -> None:
    """One of two, when a cell has begun or has a result, whichever it is."""
    boots = [bench.boot(*cases, variant=variant) for variant, cases in SIX.items()]
    wanted = {
        cell: {"true": "pass", "false": "wrong-result", "panic": "panic"}[cell.case or ""]
        for boot in boots
        for cell in boot.cells
    }
    heard = Heard(lambda count: kill_one() if count == number else None)
    run(bench, boots, 2, heard)
    assert heard.outcomes() == wanted


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 1.5])
def test_a_worker_killed_at_any_time_costs_nothing(bench: Bench, seconds: float) -> None:
    """Also while it starts, or before it has been given anything."""
    boots = [bench.boot("true", "true", variant=f"v6/{n}") for n in range(3)]
    heard = Heard()
    timer = threading.Timer(seconds, kill_one)
    timer.start()
    run(bench, boots, 1, heard)
    timer.join()
    assert set(heard.outcomes().values()) == {"pass"}
    assert len(heard.results) == 6


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_terminals_signal_while_a_process_starts_is_noticed(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """The process that starts never gets the signal; this one does, a little later."""

    def ensure_running() -> None:  # as it does if its helper is not there yet
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})

    monkeypatch.setattr(resource_tracker, "ensure_running", ensure_running)
    heard: list[int] = []
    before = signal.signal(number, lambda number, _frame: heard.append(number))
    blocked = f"import signal as s; print({number:d} in s.pthread_sigmask(s.SIG_BLOCK, []))"
    try:
        with process._signals_held():
            signal.pthread_kill(threading.get_ident(), number)  # not another thread
            started = subprocess.check_output([sys.executable, "-c", blocked], text=True)
            assert heard == []
        assert heard == [number]
    finally:
        signal.signal(number, before)
    assert started == "True\n"


def test_a_boot_that_kills_its_workers_is_given_up_and_the_run_goes_on(bench: Bench) -> None:
    boots = [
        bench.boot("true", "kill", "true", variant="v6/1"),
        *(bench.boot("true", "panic", variant=f"v6/{n}") for n in (2, 3)),
    ]
    heard = Heard()
    run(bench, boots, 2, heard)
    of_the_boot = [result for result in heard.results if result.cell.variant == "v6/1"]
    passed, killer, last = sorted(of_the_boot, key=lambda result: result.cell.repeat)
    assert passed.outcome is Outcome.PASS
    assert (killer.outcome, killer.signature) == (Outcome.ERROR, Signature.INFRASTRUCTURE)
    assert killer.message == "2 worker processes died in this boot: SIGKILL; SIGKILL"
    (first,) = killer.earlier
    assert first.message == "a worker process died (SIGKILL)"
    assert (first.outcome, first.signature) == (Outcome.ERROR, Signature.INFRASTRUCTURE)
    for files in (killer.files, first.files):
        log = (bench.folder / files["console_log"]).read_text()
        assert '> "kill; echo' in log
    assert (last.outcome, last.signature) == (Outcome.ERROR, Signature.INFRASTRUCTURE)
    assert last.message.startswith("not run: 2 worker processes died in this boot: ")
    assert last.message.endswith(", at does[kill]")
    assert last.files == {}
    assert heard.lines == [
        "v6/1 does[kill]: a worker process died (SIGKILL); another one runs its boot",
        "v6/1 does[kill]: a worker process died (SIGKILL) like the one before; boot given up",
    ]
    others = [word for cell, word in heard.outcomes().items() if cell.variant != "v6/1"]
    assert sorted(others) == ["panic", "panic", "pass", "pass"]
    # What had a result was not run again.
    assert [cell.case for cell in heard.started if cell.variant == "v6/1"] == [
        "true",
        "kill",
        "kill",
    ]


def test_a_worker_that_cannot_go_on_says_why(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    (bench.kernel_folder / "System.map").write_text("no map")
    heard = Heard()
    run(bench, [bench.boot("true")], 1, heard)
    (result,) = heard.results
    assert result.signature is Signature.INFRASTRUCTURE
    assert "died in this boot: ValueError: not enough values" in result.message
    assert "Traceback" in capfd.readouterr().err


# -- the run is ended


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_whatever_ends_the_run_ends_its_machines(bench: Bench, error: type[BaseException]) -> None:
    """Ctrl-C, or a disk on which the record cannot be written; both machines are in a cell."""

    def end(number: int) -> None:
        if number == 2 * len(("true begins", "its result", "silence begins")):
            raise error

    boots = [bench.boot("true", "silence", variant=variant) for variant in ("none", "v6/1")]
    began = time.monotonic()
    with pytest.raises(error):
        run(bench, boots, 2, Heard(end))
    assert time.monotonic() - began < 20
    assert bench.started == 2


def test_a_worker_that_does_not_end_is_killed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE", 0.5)

    def stop(_number: int) -> None:
        for worker in multiprocessing.active_children():
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGSTOP)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(bench, [bench.boot("silence")], 1, Heard(stop))


MAIN = """\
import sys
from multiprocessing import resource_tracker
from pathlib import Path
from kstep.run.local import LocalProcesses
from tests.unit.fakeboot import Bench
from tests.unit.fakeqemu import FakeToolchain

bench = Bench(Path(sys.argv[1]))
boots = [bench.boot("true", "silence", variant=variant) for variant in ("none", "v6/1")]
LocalProcesses(2, print).run(
    boots,
    FakeToolchain(bench.log),
    bench.folder,
    lambda cell: print(cell.case, flush=True),
    lambda result: None,
)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_if_the_main_process_is_killed_the_machines_end(
    tmp_path: Path, number: signal.Signals
) -> None:
    """In the middle of a cell, which would have gone on for 20 seconds, and in order."""
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as main:
        assert main.stdout is not None
        assert main.stderr is not None
        started = [main.stdout.readline().strip() for _ in range(4)]
        assert sorted(started) == ["silence", "silence", "true", "true"]
        assert len(left(log)) == 2
        main.send_signal(number)
        main.wait()
        assert wait_for(lambda: not left(log), 2)
        assert [note.suffix for note in log.iterdir()] == [".ended", ".ended"]
        assert main.stderr.read() == ""
