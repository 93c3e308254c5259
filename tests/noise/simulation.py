# SPDX-License-Identifier: GPL-2.0-only
"""Conversations over a line that lies, with a made-up kernel and a clock that nobody waits for."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING
from unittest import mock

from kstep.console.console import Console
from kstep.session.target import Target
from tests.noise.terminal import Terminal
from tests.unit.farend import FakeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.noise.noise import Noise
    from tests.unit.farend import MadeUp


class Clock:
    """Stands in for the module ``time``: waiting takes no time."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        """Return the moment, in seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.now += seconds


class SimulatedConsole(Console):
    """A console whose far end is a terminal in this process, with noise between."""

    def __init__(self, terminal: Terminal, to: Noise, back: Noise, clock: Clock) -> None:
        self._terminal, self._to, self._back, self._clock = terminal, to, back, clock
        self._coming = b""
        with open(os.devnull) as nothing:  # noqa: PTH123 -- a descriptor is all that is asked for
            super().__init__(nothing.fileno(), lambda: None, trusted=False)

    def send(self, data: bytes) -> None:
        """Let the terminal hear what the line makes of it."""
        self._unanswered = b""
        said = self._terminal.hear(self._to.through(data))
        self._coming += self._back.through(said)

    def _receive(self, timeout: float) -> bool:
        if not self._coming:
            self._clock.now += max(timeout, 0.001)
            return False
        data, self._coming = self._coming, b""
        self._take(data)
        return True


@contextmanager
def over_noise(kernel: MadeUp, to: Noise, back: Noise) -> Iterator[Target]:
    """Give the target of a made-up kernel at the end of a line with noise either way."""
    clock = Clock()
    with (
        mock.patch("kstep.base.deadline.time", clock),
        mock.patch("kstep.console.console.time", clock),
        mock.patch("kstep.session.dialogue.time", clock),
        mock.patch("kstep.judge.stepper.time", clock),
        mock.patch("kstep.session.dialogue._numbers", count(1)),
    ):
        console = SimulatedConsole(Terminal(kernel), to, back, clock)
        yield Target(FakeMachine(console, kernel.words), kernel.names)
