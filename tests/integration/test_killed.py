# SPDX-License-Identifier: GPL-2.0-only
"""kstep killed by SIGKILL, in whole or in part, at any moment: nothing is left, nothing lost."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from kstep.results import record
from tests.integration.command import Verify

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel

CASES = 6
OPTIONS = ("--sessions=step-in-order", "--variants=v6/1+2", "--jobs=1")
SOON = 2.0  # seconds until nothing is left, on an idle machine
MOST = 5.0  # additional seconds on a busy machine
LONGEST = 20.0  # seconds of such a run, about: when it may be killed
NIGHTS = 24  # seeds of the nightly set


def soon() -> float:
    """Return the seconds until nothing is left, multiplied by the load of this machine."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return SOON * min(max(load, 1.0), MOST)


@pytest.mark.parametrize(("main", "workers"), [(True, True), (False, True)], ids=["all", "worker"])
def test_killed_while_a_machine_runs(tmp_path: Path, *, main: bool, workers: bool) -> None:
    with Verify(tmp_path, *OPTIONS) as going:
        going.until(lambda: going.finished_cells() and going.runs("qemu"), "cell and a machine")
        before = going.finished_cells()
        going.kill_processes(main=main, workers=workers)
        assert going.left_behind(soon()) == []
        run = going.wait()
    if not main:
        assert run.status == 0, run.said
        ((earlier,),) = [cell["earlier"] for cell in run.cells("v6/1+2") if "earlier" in cell]
        assert earlier["message"] == "a worker process died (SIGKILL)"
        assert (run.folder / earlier["files"]["console_log"]).stat().st_size
        return
    kept = record.load(run.folder).cells
    assert before <= len(kept) < CASES
    with Verify(tmp_path, goes_on=True) as going:
        again = going.wait()
    assert again.status == 0, again.said
    assert {cell["outcome"] for cell in again.cells("v6/1+2")} == {"pass"}
    assert len(again.results["cells"]) == CASES


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(NIGHTS))
def test_killed_any_time(tmp_path: Path, seed: int) -> None:
    """Also while it prepares, while a machine starts or ends, and while it writes its files."""
    chance = random.Random(seed)  # noqa: S311 -- its seed repeats it
    main, workers = chance.choice([(True, True), (True, False), (False, True)])
    moment = chance.uniform(0, LONGEST)
    with Verify(tmp_path, *OPTIONS) as going:
        end = time.monotonic() + moment
        while going.runs_on and time.monotonic() < end:
            time.sleep(0.01)
        going.kill_processes(main=main, workers=workers)
        assert going.left_behind(soon()) == [], (moment, main, workers)
        first = going.wait()
    began = (first.folder / "results.json").exists()
    kept = record.load(first.folder).cells if began else []
    with Verify(tmp_path if began else tmp_path / "2", *OPTIONS, goes_on=began) as going:
        run = going.wait()
    assert run.status == 0, run.said
    assert len(run.results["cells"]) == CASES
    finished = record.load(run.folder).cells
    assert [cell for cell in finished if cell in kept] == kept
