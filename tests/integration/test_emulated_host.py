# SPDX-License-Identifier: GPL-2.0-only
"""Kernels under KVM, on an emulated arm64 host: one boot that steps, and a host that dies."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.integration.command import ROOT, Verify, verify

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel

OPTIONS = ("--series=v6", "--jobs=1", "--accel=emulated-kvm")


def test_a_kernel_is_stepped_under_kvm(tmp_path: Path) -> None:
    """By kgdb, over a breakpoint; the timer interrupt is pending at each step, as under TCG."""
    run = verify(
        tmp_path,
        *OPTIONS,
        "--variants=v6/1+2",
        "--sessions=continue-past-breakpoint[vfs_mkdir],step-executed",
    )
    assert run.status == 0, run.said
    (cell,) = run.cells("v6/1+2")
    assert (cell["session"], cell["outcome"]) == ("continue-past-breakpoint", "pass")
    assert "step-executed[vfs_mkdir] is not run on QEMU with KVM on an emulated host" in run.said
    host = run.results["run"]["host"]
    assert host["accel"] == "emulated-kvm"
    assert host["emulated_host"].startswith("Debian ")
    assert ", Linux " in host["emulated_host"]
    assert ", QEMU " in host["emulated_host"]
    assert host["emulated_host"] in run.results["inputs"]["emulated host"]


@pytest.mark.nightly
def test_steps_by_the_stub_end_in_the_vector_whatever_the_kernel(tmp_path: Path) -> None:
    """The leak of the step bit is what a patch makes a difference to."""
    run = verify(
        tmp_path,
        *OPTIONS,
        "--variants=none,v6/1+2",
        "--sessions=gdbstub-rate[dilation_8],gdbstub-leak[preemption]",
    )
    assert run.status == 0, run.said
    for variant in ("none", "v6/1+2"):
        (rate,) = run.cells(variant, "gdbstub-rate")
        measured = rate["metrics"]
        assert measured["landed"] > 0
        assert measured["ended_at vectors+0x280"] == measured["landed"]
        share = 100 * measured["step_us"] / measured["period_us"]
        assert measured["percent_at_least"] <= 2 * share
        (leak,) = run.cells(variant, "gdbstub-leak")
        assert leak["metrics"]["spsr_ss_set"] == leak["metrics"]["landings"]


@pytest.mark.nightly
def test_an_instruction_that_is_left_out_is_not_taken_for_reached(tmp_path: Path) -> None:
    """The next call comes by the same instruction, with the same stack pointer."""
    name = "interrupted-instruction-skipped"
    series = tmp_path / "skipped"
    shutil.copytree(
        ROOT / "patches/v6", series, ignore=shutil.ignore_patterns("*.yaml", "*.[0-9]*")
    )
    shutil.copyfile(ROOT / f"tests/mutants/{name}.patch", series / f"0003-{name}.patch")
    run = verify(
        tmp_path,
        f"--series={series}",
        *OPTIONS[1:],
        "--trust",
        "--variants=skipped/1+2+3",
        "--sessions=gdbstub-onward[continue]",
    )
    (cell,) = run.cells("skipped/1+2+3")
    assert (cell["outcome"], cell["signature"]) == ("fail", "runaway"), run.said
    assert "not to the interrupted instruction" in cell["message"]


@pytest.mark.nightly
def test_a_host_that_dies_is_no_fault_of_the_kernel(tmp_path: Path) -> None:
    """Twice, because a cell is tried again; its own console is kept both times."""
    options = (*OPTIONS, "--variants=none", "--sessions=step-in-order[vfs_mkdir]")
    with Verify(tmp_path, *options) as going:

        def boots() -> bool:
            """Whether a kernel boots in the host, in the present try."""
            logs = going.folder.rglob("vfs_mkdir/1/console.log")
            return any("Booting Linux" in log.read_text() for log in logs)

        going.until(boots, "boot of a kernel")
        going.kill("qemu-system-aarch64")
        going.until(lambda: any(going.folder.rglob("earlier")) and boots(), "second try")
        going.kill("qemu-system-aarch64")
        run = going.wait()
    assert run.status == 3, run.said
    (cell,) = run.cells("none")
    assert (cell["outcome"], cell["signature"]) == ("error", "machine-died")
    assert "the emulated host ended" in cell["message"]
    for files in (cell["files"], cell["earlier"][0]["files"]):
        assert "Run /init as init process" in (run.folder / files["host_log"]).read_text()
    assert going.left_behind() == []
