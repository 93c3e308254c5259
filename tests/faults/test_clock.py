# SPDX-License-Identifier: GPL-2.0-only
"""The clock of the day jumps in a run: nothing is waited for otherwise, and times are sane."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome
from kstep.results import record
from tests.faults.place import CASES, PATIENCE, Place
from tests.faults.seed import seeds

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.faults import Preload
    from tests.faults.place import Runs

DAY = 86400
JUMPS = (-10 * 365 * DAY, -DAY, -3600, -60, 60, 3600, DAY, 10 * 365 * DAY)  # seconds
READINGS = 6  # of the clock in a run, at least: the jump comes at one of them


@seeds(24)
def test_the_clock_jumps(
    tmp_path: Path,
    runs: Runs,
    preload: Preload,
    injected: Callable[[str, str], None],
    chance: random.Random,
    seed: int,
) -> None:
    place = Place(tmp_path / "place", runs)
    moved = JUMPS[seed % len(JUMPS)]
    at = 1 if seed < len(JUMPS) else chance.randint(2, READINGS)
    preload.plan(clock_at=at, moved=moved)
    before, began = datetime.now(UTC), time.monotonic()
    status = place.start(env=preload.env).wait()
    took = time.monotonic() - began
    assert status == 0, place.said
    assert preload.clock_reads >= at
    cells = place.cells()
    assert len(cells) == 2 * len(CASES)
    assert {each.outcome for each in cells} == {Outcome.PASS}
    assert all(0 <= each.seconds <= took and 0 <= each.boot_seconds <= took for each in cells)
    run = record.load(place.run).run
    assert 0 < run.seconds <= took < PATIENCE
    started = datetime.fromisoformat(run.started)
    steps = {timedelta(0), timedelta(seconds=moved)}
    assert any(abs(started - before - step).total_seconds() <= took for step in steps)
    assert place.left_behind() == []
    injected("clock jumps", f"{'back' if moved < 0 else 'forward'}: status {status}")
