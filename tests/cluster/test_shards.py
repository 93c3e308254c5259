# SPDX-License-Identifier: GPL-2.0-only
"""A run that was split and merged is the run that was not split, cell for cell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kstep.results.merge import merge
from kstep.results.record import load
from kstep.results.verdict import exit_status, verdict
from tests.faults.place import Place

if TYPE_CHECKING:
    from kstep.results.record import Record

ROOT = Path(__file__).parents[2]
SCRIPT = """\
from kstep.base.outcome import KernelFault, Signature
from kstep.session.session import Stepped, session


@session(claim="x", cases=tuple(Stepped(name, "true", "") for name in ("one", "two")))
def does(target, case):
    target.run(case.trigger)
    target.metrics["steps"] = 3


@session(claim="x")
def fails(target):
    target.run("true")
    raise KernelFault(Signature.STUCK, "step 1 stays there")
"""
TIMES = {"seconds", "boot_seconds"}


def verified(place: Place, name: str, sessions: str) -> Record:
    """Run ``./inv verify`` of some sessions."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(place.tmp), "KSTEP_JOBS": "2"}
    argv = [sys.executable, "-m", "tests.cluster.verify", str(place.folder), name, "local", "2"]
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env={**env, "KSTEP_TEST_SESSIONS": sessions},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "results: " in done.stdout, done.stdout + done.stderr
    return load(place.folder / name)


def cells(record: Record) -> dict[str, dict[str, Any]]:
    """Return what is recorded of each cell, except its times, with the content of its files."""
    found = {}
    for each in record.cells:
        said = {name: value for name, value in each.to_json().items() if name not in TIMES}
        kept = {kind for kind in each.files if record.path(each, kind) is not None}
        said["files"] = sorted(kept)
        found[f"{each.cell.column} {each.cell.name} {each.cell.repeat}"] = said
    return found


def test_shards_that_are_merged_are_the_whole_run(tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    (place.root / "tests/sessions/does.py").write_text(SCRIPT)
    whole = verified(place, "whole", "does,fails")
    shards = [verified(place, "first", "does"), verified(place, "second", "fails")]
    merged = merge(shards, tmp_path / "merged")
    assert cells(merged) == cells(whole)
    assert len(cells(whole)) == 2 * 3 * 2
    assert verdict(merged.cells) == verdict(whole.cells)
    assert exit_status(merged.cells) == exit_status(whole.cells)
    assert merged.request == whole.request
    assert load(tmp_path / "merged").cells == merged.cells
