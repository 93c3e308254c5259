# SPDX-License-Identifier: GPL-2.0-only
"""A run is sent a signal at any moment, or two in a row: nothing is left, nothing lost."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from tests.faults.place import PATIENCE, Place, Started, outcomes
from tests.faults.seed import seeds

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.place import Runs

INTERRUPTED = 130
# Also what a user does who is impatient, and a system that goes down.
SIGNALS = (
    (signal.SIGINT,),
    (signal.SIGTERM,),
    (signal.SIGHUP,),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGINT, signal.SIGINT, signal.SIGINT, signal.SIGTERM),
    (signal.SIGHUP, signal.SIGTERM),
    (signal.SIGKILL,),
)
APART = 0.3  # seconds at the most between two signals in a row


@seeds(120, sample=2)
def test_signals(
    tmp_path: Path,
    runs: Runs,
    injected: Callable[[str, str], None],
    chance: random.Random,
    seed: int,
) -> None:
    """To the process, or to all of the terminal; the moment is told by what the run has done."""
    place = Place(tmp_path, runs)
    numbers = SIGNALS[seed % len(SIGNALS)]
    to_all = chance.random() < 0.5
    run = place.start(jobs=chance.choice((1, 2)))
    wait_for_moment(place, run, chance)
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if to_all else os.kill)(run.pid, number)
        time.sleep(chance.uniform(0, APART))
    status = run.wait()
    name = "+".join(number.name for number in numbers)
    at = f"{name}, {'group' if to_all else 'process'}"
    allowed = {0, INTERRUPTED}
    if signal.SIGKILL in numbers or "results: " in place.said:  # Python ends, and all is done
        allowed |= {-number for number in numbers}
    assert status in allowed, (at, place.said)
    assert place.left_behind() == [], at
    assert "Traceback" not in place.said, (at, place.said)
    assert MachineryError.__name__ not in place.said
    injected(f"signal {name}", f"status {status}, {outcomes(place.cells())}")
    place.require_next_run()


def wait_for_moment(place: Place, run: Started, chance: random.Random) -> None:
    """Wait until the run has its signals handled, then for a part of its usual time.

    Before that it is Python that starts, which ends by a signal as any program does.
    """
    poll = run.poll
    until = chance.choice(("the run's folder", "a machine", "the second machine", "the end"))
    end = time.monotonic() + PATIENCE
    while poll() is None and time.monotonic() < end:
        if until == "the run's folder" and place.run.exists():
            break
        if until == "a machine" and place.machines:
            break
        if until == "the second machine" and len(place.machines) > 1:
            break
        if until == "the end" and (place.run / "report.html").exists():
            break
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.6))
