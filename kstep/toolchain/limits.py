# SPDX-License-Identifier: GPL-2.0-only
"""What a command of the toolchain may use before it is ended: time, memory, processes, disk.

A patch under review runs programs of its own while it is built. What a container bounds by
itself (memory, processes) is given to the engine; a Watch looks after the rest.
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
LOOK = 0.5  # seconds between two looks at the clock
SHARE = 20  # the disk is looked at for at most one such part of the time


def _memory() -> int:
    """Three quarters of this machine's memory, in bytes: the rest goes on."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 * 3


@dataclass(frozen=True)
class Limits:
    """What a command may use.

    ``seconds`` are those of the clock, ``silence`` those without a line of output; ``memory`` is
    in bytes; ``disk`` is what the folders may hold that it can write to, in bytes.
    """

    seconds: float
    silence: float
    memory: int
    processes: int
    disk: int

    @classmethod
    def of_a_build(cls) -> Limits:
        """What no build of a kernel needs: the largest take some 20 GiB and an hour."""
        return cls(4 * 3600.0, 1800.0, _memory(), 8192, 40 * GIB)


class Watch(AbstractContextManager["Watch"]):
    """Ends a command that goes past its limits of time and disk; then ``reason`` says why."""

    def __init__(self, limits: Limits, folders: Sequence[Path], end: Callable[[], None]) -> None:
        self.reason = ""
        self._limits = limits
        self._folders = folders
        self._end = end
        self._over = threading.Event()
        self._began = self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def heard(self) -> None:
        """Take note of a line of output."""
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
        again = self._began  # when the disk is looked at next
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
    """Return what the files below a folder hold on the disk, in bytes; links are not followed."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # a build removes files too
                total += os.lstat(os.path.join(where, name)).st_blocks * 512  # noqa: PTH118 -- thousands
    return total


def _gib(count: int) -> str:
    return f"{count / GIB:.3g} GiB"
