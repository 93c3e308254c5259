# SPDX-License-Identifier: GPL-2.0-only
"""The CPU time that a machine wanted and that the host gave it.

A kernel that hangs and one whose host has no time for it are both silent, and a kernel that gets
none for some seconds complains of a stall. The host's scheduler tells them apart.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base.repetition import repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

EVERY = 1.0  # seconds between two looks
LATE = 2.0  # seconds: a look that is later finds that the whole host stood still, or this process
WINDOW = 30.0  # seconds that count; the kernel complains of a stall after some 20
STARVED = 10.0  # seconds of them without CPU time, from which there is no verdict on the kernel
WANTED = 0.5  # of the time between two looks, at least, must a machine have wanted to run ...
GOT = 0.1  # ... and have run less than this share of it: then it was without
READY = ("R", "T", "t")  # states of a thread that would run if it were let (proc(5))


@dataclass(frozen=True)
class Look:
    """What was seen at a moment, in seconds: of all threads together, since they began."""

    at: float
    got: float  # on a CPU
    waited: float  # for one
    ready: bool  # whether one would run now, or is stopped


class Supply:
    """What is seen of the processes of a machine, each second.

    ``processes`` returns their PIDs; empty if they are not visible. Then only a host that is
    stopped completely is noticed.
    """

    def __init__(self, processes: Callable[[], Iterable[int]]) -> None:
        self._processes = processes
        self._looks = deque([self._look()])
        self._lock = threading.Lock()
        self._missed = 0.0

    @property
    def missed(self) -> float:
        """Seconds, from the start to the latest look, that it would have run and was not let."""
        return self._missed

    def shortage(self) -> str:
        """Say how the machine lacked CPU time of late; "" if it did not."""
        self.add()
        with self._lock:
            looks = list(self._looks)
        lacked = lack(looks)
        if lacked < STARVED:
            return ""
        return (
            f"the host gave the machine no CPU time worth mentioning for {lacked:.0f} of the last"
            f" {min(WINDOW, looks[-1].at - looks[0].at):.0f} s"
        )

    def add(self) -> bool:
        """Look at them now; returns True, because they must be looked at again."""
        look = self._look()
        with self._lock:
            self._missed += missed(self._looks[-1], look)
            self._looks.append(look)
            while look.at - self._looks[0].at > WINDOW and len(self._looks) > 2:  # noqa: PLR2004 -- ends of a time
                self._looks.popleft()
        return True

    def _look(self) -> Look:
        got = waited = 0
        ready = False
        for number in self._processes():
            for thread in Path(f"/proc/{number}/task").glob("*"):
                with suppress(OSError, ValueError):  # it has just ended
                    # Nanoseconds: Documentation/scheduler/sched-stats.rst.
                    ran, queued, _ = map(int, (thread / "schedstat").read_text().split())
                    state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
                    got, waited, ready = got + ran, waited + queued, ready or state in READY
        return Look(time.monotonic(), got / 1e9, waited / 1e9, ready)


@contextmanager
def supplied(processes: Callable[[], Iterable[int]]) -> Iterator[Supply]:
    """Observe the processes of a machine during the block."""
    supply = Supply(processes)
    with repeated(supply.add, EVERY):
        yield supply


def missed(before: Look, after: Look) -> float:
    """Return for how many seconds, of those between two looks, it would have run and was not let.

    Of threads that are ready at the same time each counts for its share, so never more than all.
    """
    span = max(after.at - before.at, 0.0)
    got, waited = (
        max(now - then, 0.0)  # the time of a thread that has ended is gone
        for then, now in ((before.got, after.got), (before.waited, after.waited))
    )
    if span > EVERY + LATE or (before.ready and after.ready and not got and not waited):
        return max(span - got, 0.0)  # the host stood still, or the machine was stopped
    return waited * span / max(span, got + waited, 1e-9)


def lack(looks: list[Look]) -> float:
    """Return for how many seconds a machine would have run and was not let."""
    total = 0.0
    for before, after in itertools.pairwise(looks):
        span = after.at - before.at
        got, waited = after.got - before.got, after.waited - before.waited
        wanted = span if before.ready and after.ready else got + waited
        if span > EVERY + LATE or (wanted >= WANTED * span and got < GOT * span):
            total += span
    return total
