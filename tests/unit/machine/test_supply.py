# SPDX-License-Identifier: GPL-2.0-only
"""A machine that the host does not let run is told from one that does not want to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from kstep.machine import supply
from kstep.machine.supply import Look, Supply, lack, missed, supplied


def looks(*steps: tuple[float, float, float, bool]) -> list[Look]:
    """Make looks from what passed between each and the one before: seconds, got, waited, ready."""
    found = [Look(100.0, 7.0, 3.0, ready=steps[0][3])]
    for span, got, waited, ready in steps:
        last = found[-1]
        found.append(Look(last.at + span, last.got + got, last.waited + waited, ready))
    return found


@pytest.mark.parametrize(
    ("step", "short"),
    [
        ((1.0, 0.01, 0.0, False), False),  # a kernel that hangs in its idle loop
        ((1.0, 1.0, 0.0, True), False),  # one that hangs in a loop
        ((1.0, 0.3, 0.7, True), False),  # the same on a host with much to do
        ((1.0, 0.15, 0.85, True), False),
        ((1.0, 0.02, 0.98, True), True),  # no time for it
        ((1.0, 0.02, 0.7, False), True),  # which it was told of when it last ran
        ((1.0, 0.0, 0.0, True), True),  # stopped, or throttled: it has not run since
        ((1.0, 0.02, 0.2, False), False),  # it hardly wanted any
        ((9.0, 5.0, 0.0, False), True),  # nobody looked, who should have: all stood still
    ],
)
def test_what_is_a_lack(step: tuple[float, float, float, bool], *, short: bool) -> None:
    assert lack(looks(*[step] * 4)) == (4 * step[0] if short else 0)


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        ((1.0, 0.0, 0.0, False), 0.0),  # a kernel that idles
        ((1.0, 1.0, 0.0, True), 0.0),  # one that loops, alone on the host
        ((1.0, 0.25, 0.75, True), 0.75),  # beside three others
        ((1.0, 0.02, 0.2, False), 0.2),  # one that idles, and waits whenever it wakes
        ((1.0, 0.5, 1.5, True), 0.75),  # of two CPUs' threads each counts for its share
        ((1.0, 0.0, 0.0, True), 1.0),  # stopped
        ((9.0, 5.0, 0.0, False), 4.0),  # all stood still, but not all the time
        ((1.0, -2.0, -1.0, False), 0.0),  # a thread has ended, and its time with it
    ],
)
def test_what_is_missed(step: tuple[float, float, float, bool], seconds: float) -> None:
    assert missed(*looks(step)) == pytest.approx(seconds)


def test_what_is_missed_adds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stopped = Supply(lambda: ())
    for _ in range(3):
        clock[0] += 5.0
        stopped.add()
    assert stopped.missed == pytest.approx(15.0)


def test_that_of_long_ago_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    of_none = Supply(lambda: ())
    clock[0] += 20
    assert of_none.shortage() == (
        "the host gave the machine no CPU time worth mentioning for 20 of the last 20 s"
    )
    for _ in range(int(supply.WINDOW) + 1):
        clock[0] += 1
        said = of_none.shortage()
    assert said == ""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often, so that little is waited for."""
    monkeypatch.setattr(supply, "EVERY", 0.05)
    monkeypatch.setattr(supply, "STARVED", 0.6)


@pytest.mark.usefixtures("quick")
def test_a_process_that_is_stopped_lacks_time_and_one_that_sleeps_does_not() -> None:
    busy = [sys.executable, "-c", "while True: pass"]
    with subprocess.Popen(busy) as stopped, subprocess.Popen(["sleep", "60"]) as asleep:
        time.sleep(0.3)
        with supplied(lambda: [stopped.pid]) as of_one, supplied(lambda: [asleep.pid]) as of_other:
            os.kill(stopped.pid, signal.SIGSTOP)
            time.sleep(1.5)
            assert "no CPU time worth mentioning" in of_one.shortage()
            assert of_other.shortage() == ""
        stopped.kill()
        asleep.kill()


def test_a_process_that_is_gone_is_not_looked_at() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
        with supplied(lambda: [gone.pid]) as of_gone:
            assert of_gone.shortage() == ""
