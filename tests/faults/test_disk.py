# SPDX-License-Identifier: GPL-2.0-only
"""The disk full at each use of it in a run: one clear line, no verdict, nothing half made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from tests.faults.faults import How
from tests.faults.place import Place, outcomes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _pytest.mark.structures import ParameterSet

    from tests.faults.faults import Preload
    from tests.faults.place import Runs

USES = 240  # of the disk in a run, and some more; see test_a_run_uses_the_disk_so_often


def injections() -> list[ParameterSet]:
    """Return each use with no space for it alone, and some of them for the other kinds."""
    return [
        pytest.param(how, n, id=f"{how.name}-seed{n}", marks=() if not n else pytest.mark.nightly)
        for how in (How.ONCE, How.FULL, How.TORN, How.SHORT)
        for n in range(USES if how is How.ONCE else USES // 4)
    ]


def test_a_run_uses_the_disk_so_often(tmp_path: Path, runs: Runs, preload: Preload) -> None:
    """So every use is met by a seed below, and most seeds meet one."""
    place = Place(tmp_path / "place", runs)
    preload.plan(place.run, place.tmp)
    assert place.start(env=preload.env).wait() == 0, place.said
    assert USES * 0.7 <= preload.uses <= USES


@pytest.mark.parametrize(("how", "seed"), injections())
def test_a_disk_that_is_full(
    tmp_path: Path,
    runs: Runs,
    preload: Preload,
    injected: Callable[[str, str], None],
    how: How,
    seed: int,
) -> None:
    """Journal, results.json, transcripts, traces, reports, temporary files, at each use of each.

    Seeds go through the uses in steps, so that a few are spread over the whole run.
    """
    place = Place(tmp_path / "place", runs)
    at = 1 + seed * 67 % USES
    preload.plan(place.run, place.tmp, at=at, how=how)
    status = place.start(env=preload.env).wait()
    assert status in {0, MachineryError.status}, (at, place.said)
    cells = place.cells()
    assert "Traceback" not in place.said, (at, place.said)
    assert "internal error" not in place.said, (at, place.said)
    for each in cells:
        assert "internal error" not in each.message, (at, each)
    if preload.uses >= at and how is How.SHORT:
        assert status == 0, (at, place.said)
    if status:
        reasons = [place.said, *(each.message for each in cells)]
        assert any("No space left on device" in reason for reason in reasons), (at, place.said)
    assert place.left_behind() == [], at
    injected(f"disk {how.name.lower()}", f"status {status}, {outcomes(cells)}")
    place.require_next_run()
