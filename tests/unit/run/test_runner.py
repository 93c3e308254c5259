# SPDX-License-Identifier: GPL-2.0-only
"""One boot in this process: how its cells end, and its machines."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kstep.base.outcome import Outcome, Signature
from kstep.console import console
from kstep.machine import emulated_host
from kstep.machine import qemu as machine
from kstep.results import layout
from kstep.run import runner
from kstep.session import dialogue
from kstep.session.commands import Commands
from kstep.toolchain.accel import Accel
from tests.unit.fakeboot import Bench
from tests.unit.fakehost import Played, image_in
from tests.unit.fakeqemu import READY, FakeToolchain

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.run.boot import Result


VFS = b"[ 0.1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
PANIC = b"Kernel panic - not syncing: no\r\n---[ end Kernel panic - not syncing: no ]---\r\n"


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench on which nothing is waited for long."""
    monkeypatch.setattr(console, "LOOK", 0.05)
    monkeypatch.setattr(machine, "BOOT", 1.0)
    monkeypatch.setattr(dialogue, "SPLAT_TEXT", 0.1)
    monkeypatch.setattr(Commands.run, "__defaults__", (0.5,))
    return Bench(tmp_path)


def run(bench: Bench, *cases: str, greeting: bytes = READY) -> list[Result]:
    """Run one boot here."""
    toolchain = FakeToolchain(bench.log, greeting)
    return list(runner.run(bench.boot(*cases), toolchain, bench.folder))


def test_cells_that_pass_share_a_machine(bench: Bench) -> None:
    first, second = run(bench, "true", "true")
    assert (first.outcome, second.outcome) == (Outcome.PASS, Outcome.PASS)
    assert first.boot_seconds > 0
    assert second.boot_seconds == 0
    assert first.metrics == {"tried": 1}
    assert bench.started == 1


def test_a_machine_that_served_a_cell_that_did_not_pass_is_not_used_again(bench: Bench) -> None:
    results = run(bench, "true", "false", "true", "raises", "true", "true")
    outcomes = [result.outcome.value for result in results]
    assert outcomes == ["pass", "fail", "pass", "error", "pass", "pass"]
    assert [result.boot_seconds > 0 for result in results] == [
        True,
        False,
        True,
        True,  # its second try
        True,
        False,
    ]
    assert bench.started == 4


@pytest.mark.parametrize(
    ("case", "outcome", "signature", "message"),
    [
        ("false", "fail", Signature.WRONG_RESULT, "the command 'false' ended with status 1"),
        ("panic", "fail", Signature.PANIC, "Kernel panic - not syncing: asked for"),
        ("silence", "fail", Signature.HANG, "no end of the command 'silence' within"),
        ("power_off", "error", Signature.MACHINE_DIED, "QEMU ended\nqemu-system-aarch64: term"),
        ("raises", "error", Signature.INFRASTRUCTURE, "internal error: ValueError: no such thing"),
        ("gives_up", "error", Signature.INFRASTRUCTURE, "cannot\none\ntwo"),
    ],
)
def test_every_end_of_a_cell_is_told(
    case: str, outcome: str, signature: Signature, message: str, bench: Bench
) -> None:
    (result,) = run(bench, case)
    assert (result.outcome, result.signature) == (Outcome(outcome), signature)
    assert message in result.message
    assert result.metrics == {"tried": 1}
    assert result.seconds > 0
    assert bench.started == 1 + (outcome == "error")
    assert len(result.earlier) == (outcome == "error")


def test_a_fault_of_the_machinery_is_tried_once_more_and_both_tries_are_kept(bench: Bench) -> None:
    good, flaky, last = run(bench, "true", "flakes", "true")
    assert [each.outcome for each in (good, flaky, last)] == [Outcome.PASS] * 3
    (first,) = flaky.earlier
    assert (first.outcome, first.signature) == (Outcome.ERROR, Signature.INFRASTRUCTURE)
    assert (first.message, first.seconds > 0) == ("once", True)
    assert "true; echo" in (bench.folder / first.files["console_log"]).read_text()
    assert "true; echo" not in (bench.folder / flaky.files["console_log"]).read_text()
    assert set(first.files) == set(flaky.files)
    assert not set(first.files.values()) & set(flaky.files.values())
    assert flaky.boot_seconds > 0  # a fresh machine, which the next cell has too
    assert bench.started == 2


def test_a_cell_that_has_had_a_try_gets_no_third(bench: Bench) -> None:
    """A worker died in the middle of it; its files are not removed."""
    boot = bench.boot("raises")
    (cell,) = boot.cells
    own = bench.folder / layout.cell_folder(cell)
    own.mkdir(parents=True)
    (own / "console.log").write_text("of the first")
    files = runner.set_aside(cell, bench.folder)
    boot = replace(boot, tried=frozenset([cell]))
    (result,) = runner.run(boot, FakeToolchain(bench.log), bench.folder)
    assert (result.outcome, result.earlier) == (Outcome.ERROR, ())
    assert (bench.folder / files["console_log"]).read_text() == "of the first"
    assert bench.started == 1


def test_of_a_cell_that_never_ran_there_are_no_files_to_set_aside(bench: Bench) -> None:
    (cell,) = bench.boot("true").cells
    assert runner.set_aside(cell, bench.folder) == {}


SHORT = "the host gave the machine no CPU time"


@pytest.mark.parametrize(
    ("case", "greeting", "doubted"),
    [
        ("silence", READY, True),
        ("true", b"[ 0.1] Booting\r\n", True),
        ("true", READY + b"rcu: INFO: rcu_preempt self-detected stall on CPU\r\n", True),
        (
            "true",
            READY + b"WARNING: CPU: 0 at rcu_check_gp_start_stall.part.0+0x118/0x430\r\n",
            True,
        ),
        ("true", READY.replace(b"Run", b"BUG: soft lockup"), True),
        ("true", READY + b"KGDB: Timed out waiting for secondary CPUs.\r\n", True),
        ("panic", READY, False),
        ("false", READY, False),
        ("true", READY + b"WARNING: CPU: 0\r\n", False),
        ("power_off", READY, False),
    ],
)
def test_of_a_kernel_that_its_host_does_not_let_run_silence_and_stalls_say_nothing(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    greeting: bytes,
    doubted: bool,  # noqa: FBT001 -- a row
) -> None:
    """It is tried once more; other faults do not come of a slow host."""
    monkeypatch.setattr(machine.QemuMachine, "shortage", lambda _self: SHORT)
    (result,) = run(bench, case, greeting=greeting)
    assert result.message.startswith(f"{SHORT}; so this is no verdict on the kernel: ") is doubted
    if doubted:
        assert (result.outcome, result.signature) == (Outcome.ERROR, Signature.INFRASTRUCTURE)
        assert (len(result.earlier), result.silent, result.died_at_boot) == (1, 0, False)


def test_the_files_of_a_cell_are_where_it_says(bench: Bench) -> None:
    for result in run(bench, "true", "panic"):
        log = (bench.folder / result.files["console_log"]).read_text()
        assert f'> "{result.cell.case}; echo' in log
        assert ("KSTEP-READY" in log) == (result.boot_seconds > 0)
        assert (bench.folder / result.files["trace"]).read_text() == ""


def test_each_cell_has_the_script_that_boots_its_machine(bench: Bench) -> None:
    """Also one whose machine ran already, and one whose machine did not come up."""
    for result in [*run(bench, "true", "true"), *run(bench, "true", greeting=b"")]:
        script = bench.folder / result.files["qemu"]
        assert script.parent == (bench.folder / result.files["console_log"]).parent
        assert script.name == "qemu.sh"
        assert str(bench.kernel.image) in script.read_text()
        assert os.access(script, os.X_OK)


@pytest.mark.parametrize(
    ("greeting", "outcome", "signature", "words"),
    [
        (b"[ 0.0] Booting\r\n[ 0.1] stops\r\n", "error", Signature.NO_BOOT, "[ 0.1] stops"),
        (b"", "error", Signature.NO_BOOT, "the kernel does not boot: no line from the guest"),
        (VFS + b"\r\n", "error", Signature.NO_BOOT, "syncing: VFS"),
        (PANIC, "fail", Signature.PANIC, "does not boot: Kernel panic - not syncing: no"),
        (
            b"Unable to handle kernel x\r\n[0]kdb> ",
            "fail",
            Signature.SPLAT,
            "does not boot: Unable",
        ),
        (READY.replace(b"Run", b"WARNING:"), "fail", Signature.SPLAT, "WARNING: /init"),
    ],
)
def test_a_boot_that_goes_wrong_is_that_of_its_first_cell(
    greeting: bytes, outcome: str, signature: Signature, words: str, bench: Bench
) -> None:
    (result,) = run(bench, "true", greeting=greeting)
    assert (result.outcome, result.signature) == (Outcome(outcome), signature)
    assert words in result.message
    assert bench.started == 1 + (outcome == "error")
    assert result.died_at_boot == (outcome == "fail" and "does not boot" in result.message)
    assert result.silent == (2 if outcome == "error" and b"VFS" not in greeting else 0)


@pytest.mark.parametrize(
    ("greeting", "outcome", "signature"),
    [(PANIC, "fail", Signature.PANIC), (VFS + b"\r\n", "error", Signature.NO_BOOT)],
)
def test_a_kernel_that_does_not_boot_is_not_started_for_every_cell(
    greeting: bytes, outcome: str, signature: Signature, bench: Bench
) -> None:
    """And what it came to is that of every cell of the boot."""
    results = run(bench, "true", "true", "true", greeting=greeting)
    assert {(each.outcome, each.signature) for each in results} == {(outcome, signature)}
    assert [
        each.message.startswith("not tried again: the kernel does not boot") for each in results
    ] == [False, True, True]
    assert {each.died_at_boot for each in results} == {outcome == "fail"}
    assert bench.started == 1 + (outcome == "error")


def test_a_kernel_that_complains_and_comes_up_is_started_for_each_cell(bench: Bench) -> None:
    results = run(bench, "true", "true", greeting=READY.replace(b"Run", b"WARNING:"))
    assert [each.signature for each in results] == [Signature.SPLAT] * 2
    assert bench.started == 2


def test_a_taint_that_nobody_heard_of_is_a_splat(bench: Bench) -> None:
    """The next cell has another machine; a taint that is no fault is none."""
    good, bad, next_ = run(bench, "true", "taint", "true")
    assert (good.outcome, next_.outcome) == (Outcome.PASS, Outcome.PASS)
    assert (bad.outcome, bad.signature) == (Outcome.FAIL, Signature.SPLAT)
    assert "tainted W (TAINT_WARN: a warning): " in bad.message
    assert bench.started == 2


def test_a_taint_that_was_provoked_is_expected_and_the_next_cell_s_is_not(bench: Bench) -> None:
    results = run(bench, "excused_taint", "true", "taint")
    assert {each.outcome for each in results} == {Outcome.PASS}, "W was there before"
    assert bench.started == 1


def test_a_splat_while_the_taint_is_read_counts(bench: Bench) -> None:
    (result,) = run(bench, "late_splat")
    assert (result.outcome, result.signature) == (Outcome.FAIL, Signature.SPLAT)
    assert "BUG: late" in result.message


def test_a_shell_that_is_silent_after_a_cell_that_passed_is_no_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But another cell does not get it."""
    monkeypatch.setattr(Commands.ask, "__defaults__", (0.5,))
    results = run(bench, "hush", "true")
    assert {each.outcome for each in results} == {Outcome.PASS}
    assert bench.started == 2


def test_what_an_earlier_try_left_is_not_taken_for_this_one_s(bench: Bench) -> None:
    (cell,) = bench.boot("true").cells
    own = bench.folder / layout.cell_folder(cell)
    own.mkdir(parents=True)
    (own / "gdb-1.log").write_text("of a worker that died")
    (result,) = run(bench, "true")
    assert sorted(result.files) == ["console_log", "qemu", "trace"]
    assert not (own / "gdb-1.log").exists()


def test_whoever_stops_in_the_middle_leaves_no_machine(bench: Bench) -> None:
    boot = bench.boot("true", "true")
    with contextlib.closing(runner.run(boot, FakeToolchain(bench.log), bench.folder)) as results:
        next(results)
        assert not list(bench.log.glob("*.ended"))
    assert bench.started == 1


# -- an emulated host


def test_the_console_of_a_host_that_does_not_come_up_is_kept(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both tries, each on a host of its own; it is no fault of the kernel."""
    monkeypatch.setattr(emulated_host, "BOOT", 0.2)
    tools = Played(**{"": ""})
    boot = replace(bench.boot("true"), host=image_in(tmp_path), accel=Accel.EMULATED_KVM)
    (result,) = runner.run(boot, tools, bench.folder)
    assert (result.outcome, result.signature) == (Outcome.ERROR, Signature.MACHINE_DIED)
    for files in (result.files, result.earlier[0].files):
        assert "init: hello" in (bench.folder / files["host_log"]).read_text()
    assert [each.runs for each in tools.started] == [False, False]
