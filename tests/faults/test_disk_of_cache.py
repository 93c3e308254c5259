# SPDX-License-Identifier: GPL-2.0-only
"""The disk full at each use of it in a build: no half of an entry, and the next build is right."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base import temporary
from kstep.base.errors import MachineryError
from tests.faults.faults import How
from tests.faults.place import ROOT
from tests.faults.seed import seeds
from tests.unit.build.test_builder import WITH_A, Work, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.faults import Preload

USES = 90  # of the disk by kstep itself in two builds, and some more


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that make can build in; that of all tests may have blanks in its name."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def build(folder: Path, preload: Preload) -> subprocess.CompletedProcess[str]:
    """Build in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.faults.build", str(folder)],
        cwd=ROOT,
        env={**os.environ, **preload.env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_builds_use_the_disk_so_often(folder: Path, preload: Preload) -> None:
    """So every use is met by a seed below, and most seeds meet one."""
    Work(folder)  # the source is the user's
    preload.plan(folder / "cache")
    done = build(folder, preload)
    assert done.returncode == 0, done.stderr
    assert USES * 0.7 <= preload.uses <= USES


@seeds(USES)
@pytest.mark.parametrize("how", [How.ONCE, How.TORN], ids=lambda how: how.name)
def test_a_disk_that_is_full_in_a_build(
    folder: Path, preload: Preload, injected: Callable[[str, str], None], how: How, seed: int
) -> None:
    work = Work(folder)
    at = 1 + seed * 37 % USES
    preload.plan(folder / "cache", at=at, how=how)
    done = build(folder, preload)
    assert done.returncode in {0, MachineryError.status}, (at, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, at
    if done.returncode:
        assert "No space left on device" in done.stdout, (at, done.stdout)
    for scratch in work.cache.scratch_folders:
        left = [path.name for path in scratch.rglob("*") if temporary.NAME.fullmatch(path.name)]
        assert not left, at
    anew = Work(folder / "anew")
    assert state(work.build(WITH_A)) == state(anew.build(WITH_A)), at
    assert state(work.build()) == state(anew.build()), at
    injected(f"disk {how.name.lower()}, a build", f"status {done.returncode}")
