# SPDX-License-Identifier: GPL-2.0-only
"""What a bench makes of a run of verify, which is played here."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.bench import verdict
from kstep.bench.cold import CHANGED
from kstep.results.cell import BASE
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from pathlib import Path


def played(folder: Path, script: str) -> Path:
    """Make an inv that does something; its first argument is the command."""
    root = folder / "root"
    root.mkdir()
    (root / "inv").write_text(f"#!/bin/sh\n{script}\n")
    (root / "inv").chmod(0o755)
    return root


@pytest.fixture
def emulator(tmp_path: Path) -> Path:
    """Return a program that uses half a second of CPU time under QEMU's name."""
    path = tmp_path / "qemu-system-aarch64"
    path.symlink_to("/usr/bin/python3")
    return path


BUSY = "import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(2)"


def test_the_cpu_time_of_every_emulator_counts(tmp_path: Path, emulator: Path) -> None:
    """Of those that start meanwhile, however deep, and no others."""
    with subprocess.Popen([emulator, "-c", "import time; time.sleep(60)"]) as other:
        root = played(tmp_path, f'{emulator} -c "{BUSY}" & {emulator} -c "{BUSY}"; wait; exit 1')
        with verdict._cpu_seconds() as used:
            began = time.perf_counter()
            verdict._verify(root, tmp_path).wait()
            assert time.perf_counter() - began > 1
        other.kill()
    assert len(used) == 2
    assert sum(used.values()) == pytest.approx(1.0, abs=0.3)


def test_a_run_is_compared_with_its_emulators(
    tmp_path: Path, emulator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    root = played(tmp_path, f'{emulator} -c "{BUSY}"; echo "$@"')
    assert verdict.verify_over_qemu(root, tmp_path, "--series=v6") > 4 * 0.5
    assert (tmp_path / "said").read_text() == f"verify --out={tmp_path}/run --series=v6\n"


@pytest.mark.parametrize("script", ["echo no kernel; exit 3", "echo nothing was run"])
def test_a_run_without_verdict_is_no_figure(tmp_path: Path, script: str) -> None:
    with pytest.raises(MachineryError) as caught:
        verdict.verify_over_qemu(played(tmp_path, script), tmp_path)
    assert caught.value.details[0].startswith("no")


def test_the_first_verdict_is_of_the_patch_and_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result of the unpatched kernel is none of the patch."""
    source = tmp_path / "source"
    (source / CHANGED).parent.mkdir(parents=True)
    (source / CHANGED).write_text("int a;\n")
    root = played(tmp_path, 'echo "$@"; exec sleep 60')
    (tmp_path / "run").mkdir()
    a_record(tmp_path / "run", a_cell(BASE)).write()
    looks = []

    def has_verdict(run: Path) -> bool:
        looks.append(verdict_there(run))
        if len(looks) == 2:
            a_record(run, a_cell(BASE), a_cell("saved/1")).write()
        return looks[-1]

    verdict_there = verdict._has_verdict
    monkeypatch.setattr(verdict, "_has_verdict", has_verdict)
    assert verdict.seconds_to_verdict(root, tmp_path, source, "--toolchain=host") < 30
    assert looks == [False, False, True]
    patch = (tmp_path / verdict.SAVED).read_text()
    assert (
        subprocess.run(
            ["git", "apply", "--check"], cwd=source, input=patch, text=True, check=False
        ).returncode
        == 0
    )
    assert "--sessions=quick --toolchain=host" in (tmp_path / "said").read_text()


def test_a_patch_without_verdict_is_no_figure(tmp_path: Path) -> None:
    (tmp_path / CHANGED).parent.mkdir(parents=True)
    (tmp_path / CHANGED).write_text("int a;\n")
    with pytest.raises(MachineryError, match="no verdict"):
        verdict.seconds_to_verdict(played(tmp_path, "exit 2"), tmp_path, tmp_path)
