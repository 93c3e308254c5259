# SPDX-License-Identifier: GPL-2.0-only
"""Boots, on this process and on others: what becomes of a cell, and of what it used."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import Outcome, Signature
from kstep.build.kernel import Kernel
from kstep.console import console
from kstep.machine import qemu as machine
from kstep.results.cell import Cell
from kstep.run import runner
from kstep.run.runner import Boot, Result
from kstep.session import target
from kstep.toolchain.accel import Accel
from tests.unit.fakeqemu import READY, FakeToolchain

SCRIPT = """\
from kstep.base.errors import MachineryError
from kstep.machine.hardware import Hardware
from kstep.session.session import Stepped, session

WORDS = ("true", "false", "panic", "silence", "power_off", "kill", "raises", "gives_up")


@session(claim="x", cases=tuple(Stepped(word, word.replace("_", "-"), "") for word in WORDS))
def does(target, case):
    target.metrics["tried"] = 1
    if case.name == "raises":
        raise ValueError("no such thing")
    if case.name == "gives_up":
        raise MachineryError("cannot", details=("one", "two"))
    target.run(case.trigger)
"""


class Bench:
    """A run's folder, a kernel's, and what is started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.log = folder / "log"
        self.sessions = folder / "sessions"
        for made in (self.folder, self.log, self.sessions):
            made.mkdir()
        (self.sessions / "does.py").write_text(SCRIPT)
        (folder / "System.map").write_text("ffff800008000000 T _text\n")
        self.kernel = Kernel(
            key="x",
            folder=folder,
            cached=True,
            image_sha256="",
            vmlinux_sha256="",
            config_sha256="",
            build_seconds=0.0,
            objects_compiled=0,
        )

    def boot(self, *cases: str, variant: str = "none") -> Boot:
        """Put cases on one boot."""
        cells = tuple(Cell("t", "base", variant, "does", case, 1) for case in cases)
        return Boot(
            cells,
            self.kernel,
            self.folder / "initramfs",
            self.sessions,
            self.folder,
            Accel.TCG,
        )

    def run(self, *cases: str, greeting: bytes = READY) -> list[Result]:
        """Run one boot here."""
        return list(runner.run(self.boot(*cases), FakeToolchain(self.log, greeting)))

    @property
    def started(self) -> int:
        """How many machines there were; each must have ended."""
        notes = list(self.log.iterdir())
        assert all(note.suffix == ".ended" for note in notes), notes
        return len(notes)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Give a bench on which nothing is waited for long."""
    monkeypatch.setattr(console, "LOOK", 0.05)
    monkeypatch.setattr(machine, "BOOT", 1.0)
    monkeypatch.setattr(target, "COMPLAINT_TEXT", 0.1)
    monkeypatch.setattr(target.Target.run, "__defaults__", (0.5,))
    return Bench(tmp_path)


# -- one boot


def test_cells_that_pass_share_a_machine(bench: Bench) -> None:
    first, second = bench.run("true", "true")
    assert (first.outcome, second.outcome) == (Outcome.PASS, Outcome.PASS)
    assert first.boot_seconds > 0
    assert second.boot_seconds == 0
    assert first.metrics == {"tried": 1}
    assert bench.started == 1


def test_a_machine_that_served_a_cell_that_did_not_pass_is_not_used_again(bench: Bench) -> None:
    results = bench.run("true", "false", "true", "raises", "true", "true")
    outcomes = [result.outcome.value for result in results]
    assert outcomes == ["pass", "fail", "pass", "error", "pass", "pass"]
    assert [result.boot_seconds > 0 for result in results] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    assert bench.started == 3


@pytest.mark.parametrize(
    ("case", "outcome", "signature", "message"),
    [
        ("false", "fail", Signature.WRONG_RESULT, "the command 'false' ended with status 1"),
        ("panic", "fail", Signature.PANIC, "Kernel panic - not syncing: asked for"),
        ("silence", "fail", Signature.HANG, "no end of the command 'silence' within"),
        ("power_off", "error", Signature.MACHINE_DIED, "QEMU ended\nqemu-system-aarch64: term"),
        ("raises", "error", Signature.INFRASTRUCTURE, "failed: ValueError: no such thing"),
        ("gives_up", "error", Signature.INFRASTRUCTURE, "cannot\none\ntwo"),
    ],
)
def test_every_end_of_a_cell_is_told(
    case: str, outcome: str, signature: Signature, message: str, bench: Bench
) -> None:
    (result,) = bench.run(case)
    assert (result.outcome, result.signature) == (Outcome(outcome), signature)
    assert message in result.message
    assert result.metrics == {"tried": 1}
    assert result.seconds > 0
    assert bench.started == 1


def test_the_files_of_a_cell_are_where_it_says(bench: Bench) -> None:
    for result in bench.run("true", "panic"):
        log = (bench.folder / result.files["console_log"]).read_text()
        assert f'> "{result.cell.case}; echo' in log
        assert ("KSTEP-READY" in log) == (result.boot_seconds > 0)
        assert (bench.folder / result.files["trace"]).read_text() == ""


def test_each_cell_has_the_script_that_boots_its_machine(bench: Bench) -> None:
    """Also one whose machine ran already, and one whose machine did not come up."""
    for result in [*bench.run("true", "true"), *bench.run("true", greeting=b"")]:
        script = bench.folder / result.files["qemu"]
        assert script.parent == (bench.folder / result.files["console_log"]).parent
        assert script.name == "qemu.sh"
        assert str(bench.kernel.image) in script.read_text()
        assert os.access(script, os.X_OK)


@pytest.mark.parametrize(
    ("greeting", "outcome", "signature", "words"),
    [
        (b"[ 0.0] Booting\r\n[ 0.1] stops\r\n", "error", Signature.NO_BOOT, "[ 0.1] stops"),
        (b"", "error", Signature.NO_BOOT, "the kernel does not boot: no word from the guest"),
        (b"[ 0.1] Kernel panic - not syncing: VFS\r\n", "error", Signature.NO_BOOT, "syncing: VFS"),
        (READY.replace(b"Run", b"WARNING:"), "fail", Signature.SPLAT, "WARNING: /init"),
    ],
)
def test_a_boot_that_goes_wrong_is_that_of_its_first_cell(
    greeting: bytes, outcome: str, signature: Signature, words: str, bench: Bench
) -> None:
    (result,) = bench.run("true", greeting=greeting)
    assert (result.outcome, result.signature) == (Outcome(outcome), signature)
    assert words in result.message
    assert bench.started == 1


# -- many boots, on processes of their own


def test_results_do_not_depend_on_how_many_work(bench: Bench) -> None:
    boots = [
        bench.boot("true", "false", variant="none"),
        bench.boot("panic", "true", variant="v6/1"),
        bench.boot("raises", variant="v6/2"),
    ]
    wanted = {(cell.variant, cell.case) for boot in boots for cell in boot.cells}
    found = []
    for jobs in (1, 2, 8):
        results: list[Result] = []
        started: list[Cell] = []
        runner.run_all(boots, FakeToolchain(bench.log), jobs, results.append, started.append)
        assert len(results) == len(wanted)
        assert len(started) == len(wanted)
        assert {(cell.variant, cell.case) for cell in started} == wanted
        found.append({(r.cell.variant, r.cell.case, r.outcome, r.signature) for r in results})
    assert found[0] == found[1] == found[2]
    assert {(variant, case) for variant, case, *_ in found[0]} == wanted
    assert bench.started == 3 * 4
    assert not multiprocessing.active_children()


def test_nothing_to_run_is_run_at_once(bench: Bench) -> None:
    runner.run_all([], FakeToolchain(bench.log), 2, print)


def test_a_worker_that_dies_ends_the_run(bench: Bench) -> None:
    """The others do not go on, and nobody waits for the cells that it had."""
    boots = [bench.boot("kill"), bench.boot("silence", "silence", "silence", variant="v6/1")]
    toolchain = FakeToolchain(bench.log)
    began = time.monotonic()
    with pytest.raises(MachineryError, match=r"^a worker process died \(status \[-9\]\)$"):
        runner.run_all(boots, toolchain, 2, print)
    assert time.monotonic() - began < 20
    assert_all_gone(bench, toolchain)


def test_whatever_ends_the_run_ends_its_machines(bench: Bench) -> None:
    """Ctrl-C, or a disk on which the record cannot be written."""

    class DiskFullError(Exception):
        pass

    def full(result: Result) -> None:
        raise DiskFullError(result.message)

    boots = [bench.boot("true"), bench.boot("silence", variant="v6/1")]
    toolchain = FakeToolchain(bench.log)
    began = time.monotonic()
    with pytest.raises(DiskFullError):
        runner.run_all(boots, toolchain, 2, full)
    assert time.monotonic() - began < 20
    assert_all_gone(bench, toolchain)


def assert_all_gone(bench: Bench, toolchain: FakeToolchain) -> None:
    """Look that no process is left, nor what may outlive one: a container."""
    assert not multiprocessing.active_children()
    owners = {note.name.partition("-")[0] for note in bench.log.iterdir()}
    assert owners
    assert not any(Path(f"/proc/{owner}").exists() for owner in owners)
    assert toolchain.swept
