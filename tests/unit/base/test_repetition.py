# SPDX-License-Identifier: GPL-2.0-only
"""What is called again and again while a block runs, and not after it."""

from __future__ import annotations

import threading
import time

import pytest

from kstep.base.repetition import repeated

OFTEN = 0.01  # seconds


def test_it_is_called_until_the_block_ends() -> None:
    called = threading.Semaphore(0)

    def action() -> bool:
        called.release()
        return True

    with repeated(action, OFTEN):
        for _ in range(3):
            assert called.acquire(timeout=10)
    while called.acquire(blocking=False):
        pass
    time.sleep(10 * OFTEN)
    assert not called.acquire(blocking=False)


def test_it_is_not_called_again_when_it_has_said_so() -> None:
    times: list[float] = []

    def action() -> bool:
        times.append(time.monotonic())
        return len(times) < 2

    with repeated(action, OFTEN):
        time.sleep(20 * OFTEN)
    assert len(times) == 2


def test_a_block_that_raises_ends_it() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="out"), repeated(lambda: True, OFTEN):
        raise ValueError("out")
    assert threading.active_count() == before


def test_a_long_pause_does_not_delay_the_end() -> None:
    began = time.monotonic()
    with repeated(lambda: True, 60.0):
        pass
    assert time.monotonic() - began < 10
