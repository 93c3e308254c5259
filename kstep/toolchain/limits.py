# SPDX-License-Identifier: GPL-2.0-only
"""Limits of a command of the toolchain: time, memory, processes, disk.

A patch under review can make its build run any program. The container engine limits memory and
processes; a Watch limits the rest.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

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


class Watch(AbstractContextManager["Watch"]):
    """Ends a command that exceeds its limits of time or disk; then ``reason`` says which."""

    def __init__(self, limits: Limits, folders: Sequence[Path], end: Callable[[], None]) -> None:
        self.reason = ""
        self._limits = limits
        self._folders = folders
        self._end = end
        self._over = threading.Event()
        self._began = self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def heard(self) -> None:
        """Record that there was a line of output."""
        self._heard = time.monotonic()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        again = self._began  # the time of the next check of the disk
        while not self._over.wait(LOOK):
            now = time.monotonic()
            if now >= again:
                used = sum(map(size, self._folders))
                again = now + SHARE * (time.monotonic() - now)
                if used > self._limits.disk:
                    self.reason = f"more than {_gib(self._limits.disk)} of disk"
            if now - self._began > self._limits.seconds:
                self.reason = f"more than {self._limits.seconds:.0f} s"
            elif now - self._heard > self._limits.silence:
                self.reason = f"{self._limits.silence:.0f} s without a line of output"
            if self.reason:
                self._end()
                return


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
