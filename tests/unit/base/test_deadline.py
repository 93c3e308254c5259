# SPDX-License-Identifier: GPL-2.0-only
"""A deadline leaves out the time that whoever is waited for could not use."""

from __future__ import annotations

import time

import pytest

from kstep.base.deadline import MOST, Deadline


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_it_passes(clock: list[float]) -> None:
    deadline = Deadline.after(10.0)
    assert (deadline.left, deadline.overdue) == (10.0, 0.0)
    clock[0] += 12
    assert (deadline.left, deadline.overdue) == (0.0, 2.0)
    assert str(deadline) == "10.0 s"


def test_what_was_missed_moves_it(clock: list[float]) -> None:
    missed = [5.0]  # before it began
    deadline = Deadline.after(10.0, lambda: missed[0])
    clock[0] += 12
    missed[0] += 7
    assert deadline.left == pytest.approx(5.0)
    clock[0] += 6
    assert deadline.overdue == pytest.approx(1.0)
    assert not deadline.left
    assert str(deadline) == "10.0 s and 7 s for which the host was busy"


def test_it_passes_on_a_host_that_gives_almost_nothing(clock: list[float]) -> None:
    deadline = Deadline.after(10.0, lambda: clock[0] - 100.0)
    clock[0] += 10 * (1 + MOST) - 1
    assert deadline.left
    clock[0] += 2
    assert not deadline.left
