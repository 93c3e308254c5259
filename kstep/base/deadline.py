# SPDX-License-Identifier: GPL-2.0-only
"""The time by which something must have happened; passed down, never restarted."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A time on the monotonic clock; ``seconds`` is the original timeout."""

    seconds: float
    moment: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return a deadline in ``seconds`` seconds from now."""
        return cls(seconds, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.moment - time.monotonic())

    @property
    def overdue(self) -> float:
        """Seconds since the deadline passed, at least 0."""
        return max(0.0, time.monotonic() - self.moment)
