# SPDX-License-Identifier: GPL-2.0-only
"""Limits of a command of the toolchain: time, memory, processes, disk.

A patch under review can make its build run any program. The container engine limits memory and
processes; a Watch limits the rest.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.repetition import repeated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

GIB = 1 << 30
LOOK = 0.5  # seconds between two checks of the time
SHARE = 20  # checking the disk takes at most this part (1/20) of the time


def _memory() -> int:
    """Three quarters of the host's memory, in bytes; the rest is for other programs."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 * 3


@dataclass(frozen=True)
class Limits:
    """The limits of a command.

    ``seconds`` is the run time, ``silence`` the time without a line of output, in seconds;
    ``memory`` is in bytes; ``disk`` is the size of the folders that it can write to, in bytes.
    """

    seconds: float
    silence: float
    memory: int
    processes: int
    disk: int

    @classmethod
    def of_a_build(cls) -> Limits:
        """More than any kernel build needs: the largest take about 20 GiB and an hour."""
        return cls(4 * 3600.0, 1800.0, _memory(), 8192, 40 * GIB)


class Watch:
    """Checks a command against its limits of time and disk; ``reason`` names the exceeded one."""

    def __init__(
        self, limits: Limits | None, folders: Sequence[Path], end: Callable[[], None]
    ) -> None:
        self.reason = ""
        self._limits = limits
        self._folders = folders
        self._end = end
        self._began = self._heard = self._next = time.monotonic()  # the last: for the disk

    def heard(self) -> None:
        """Record that there was a line of output."""
        self._heard = time.monotonic()

    def check(self) -> bool:
        """End the command if it exceeds a limit; return whether it must be checked again."""
        if self._limits is None:
            return False
        now = time.monotonic()
        if now >= self._next:
            used = sum(map(size, self._folders))
            self._next = now + SHARE * (time.monotonic() - now)
            if used > self._limits.disk:
                self.reason = f"more than {_gib(self._limits.disk)} of disk"
        if now - self._began > self._limits.seconds:
            self.reason = f"more than {self._limits.seconds:.0f} s"
        elif now - self._heard > self._limits.silence:
            self.reason = f"{self._limits.silence:.0f} s without a line of output"
        if self.reason:
            self._end()
        return not self.reason


@contextmanager
def watched(
    limits: Limits | None, folders: Sequence[Path], end: Callable[[], None]
) -> Iterator[Watch]:
    """Watch a command during the block; ``end`` is called if it exceeds its limits.

    ``folders`` are those that it can write to. Without limits nothing is checked.
    """
    watch = Watch(limits, folders, end)
    with repeated(watch.check, LOOK):
        yield watch


def size(folder: Path) -> int:
    """Return the disk usage of the files below a folder, in bytes; links are not followed."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # a build also removes files
                total += os.lstat(os.path.join(where, name)).st_blocks * 512  # noqa: PTH118 -- thousands
    return total


def _gib(count: int) -> str:
    return f"{count / GIB:.3g} GiB"
