# SPDX-License-Identifier: GPL-2.0-only
"""The time by which something must have happened; passed down, never restarted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Times the timeout: with less than a tenth of the time, nothing can be said of a machine.
MOST = 9.0


def _nothing() -> float:
    return 0.0


@dataclass(frozen=True)
class Deadline:
    """A time on the monotonic clock; ``seconds`` is the original timeout.

    ``missed`` grows by the seconds that whoever is waited for would have run and was not let: they
    are not its own, and move the deadline, by up to MOST times the timeout. ``already`` is what it
    was at the start.
    """

    seconds: float
    moment: float
    missed: Callable[[], float] = _nothing
    already: float = 0.0

    @classmethod
    def after(cls, seconds: float, missed: Callable[[], float] = _nothing) -> Deadline:
        """Return a deadline in ``seconds`` seconds from now, of those that are not ``missed``."""
        return cls(seconds, time.monotonic() + seconds, missed, missed())

    @property
    def moved(self) -> float:
        """Seconds by which it was moved so far."""
        return min(self.missed() - self.already, MOST * self.seconds)

    @property
    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, -self._past)

    @property
    def overdue(self) -> float:
        """Seconds since the deadline passed, at least 0."""
        return max(0.0, self._past)

    @property
    def _past(self) -> float:
        past = time.monotonic() - self.moment
        return past if past < 0 else past - self.moved

    def __str__(self) -> str:
        """Return how long it was, in words."""
        moved = f" and {self.moved:.0f} s for which the host was busy" if self.moved >= 1 else ""
        return f"{self.seconds:.1f} s{moved}"
