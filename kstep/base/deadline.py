# SPDX-License-Identifier: GPL-2.0-only
"""A moment by which something must have happened; handed down, never started anew."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock; ``seconds`` is how long it was at first."""

    seconds: float
    moment: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(seconds, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds that are left, not below 0."""
        return max(0.0, self.moment - time.monotonic())

    @property
    def overdue(self) -> float:
        """Seconds since the moment passed, not below 0."""
        return max(0.0, time.monotonic() - self.moment)
