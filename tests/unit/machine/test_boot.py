# SPDX-License-Identifier: GPL-2.0-only
"""How long a boot is waited for."""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING

import pytest

from kstep.base.deadline import Deadline
from kstep.console import console as consoles
from kstep.console.console import Console, SilenceError
from kstep.machine.boot import UP_OR_DOWN, UP_OR_PANIC, await_end

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Console, int]]:
    """Return a console, and the end that the kernel writes to."""
    monkeypatch.setattr(consoles, "LOOK", 0.05)
    reader, writer = os.pipe()
    yield Console(reader, lambda: None), writer
    os.close(reader)
    os.close(writer)


def talk(kernel: int, pieces: int) -> threading.Thread:
    """Have the kernel say something every 0.1 s."""

    def say() -> None:
        for _ in range(pieces):
            os.write(kernel, b"[    0.0] on the way\r\n")
            time.sleep(0.1)

    thread = threading.Thread(target=say)
    thread.start()
    return thread


def test_a_boot_that_goes_on_talking_is_waited_for(line: tuple[Console, int]) -> None:
    console, kernel = line
    thread = talk(kernel, 8)
    threading.Timer(0.9, os.write, (kernel, b"up")).start()
    assert await_end(console, re.compile(b"up"), 0.4, Deadline.after(30))
    thread.join()


def test_silence_ends_the_wait(line: tuple[Console, int]) -> None:
    console, kernel = line
    os.write(kernel, b"[    0.0] on the way")
    began = time.monotonic()
    with pytest.raises(SilenceError) as silence:
        await_end(console, UP_OR_DOWN, 0.2, Deadline.after(30))
    assert silence.value.heard.endswith(b"on the way")
    assert time.monotonic() - began < 10


def test_talking_for_ever_is_not_waited_for(line: tuple[Console, int]) -> None:
    console, kernel = line
    thread = talk(kernel, 10)
    with pytest.raises(SilenceError):
        await_end(console, UP_OR_DOWN, 5, Deadline.after(0.3))
    thread.join()


@pytest.mark.parametrize(
    ("said", "down", "panics"),
    [
        (b"KSTEP-READY 6.1.192 cpus=1\r\n", False, False),
        (b"---[ end Kernel panic - not syncing: no ]---\r\n", True, True),
        (b"[0]kdb> ", True, None),
        (b"more> ", True, None),
    ],
)
def test_what_ends_a_boot(said: bytes, down: bool, panics: bool | None) -> None:  # noqa: FBT001
    match = UP_OR_DOWN.search(said)
    assert match is not None
    assert bool(match["down"]) is down
    match = UP_OR_PANIC.search(said)
    assert (None if match is None else bool(match["down"])) is panics
