# SPDX-License-Identifier: GPL-2.0-only
"""A rate: how many of the repeats of a cell passed, and what that says about the next ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from kstep.base.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rate:
    """``passes`` of ``total`` repeats; those without a verdict do not count."""

    passes: int
    total: int

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """Count outcomes."""
        judged = [outcome for outcome in outcomes if outcome is not Outcome.ERROR]
        return cls(judged.count(Outcome.PASS), len(judged))

    @property
    def varies(self) -> bool:
        """Whether some passed and some did not."""
        return 0 < self.passes < self.total

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the bounds, from 0 to 1, of the true rate: Wilson's score interval.

        Without repeats nothing is known: 0 and 1.
        """
        if not self.total:
            return 0.0, 1.0
        from scipy import stats  # noqa: PLC0415 -- takes as long to load as all else

        found = stats.binomtest(self.passes, self.total).proportion_ci(confidence, method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        if not self.total:
            return "no verdict"
        low, high = (f"{100 * bound:.0f}" for bound in self.interval())
        return f"{100 * self.passes / self.total:.0f}% ({low}-{high})"


def compare(one: Rate, other: Rate) -> float:
    """Return how likely such a difference is by chance alone: Fisher's exact test.

    Two-sided; 1 if one of them has no repeats.
    """
    from scipy import stats  # noqa: PLC0415 -- takes as long to load as all else

    table = [[rate.passes, rate.total - rate.passes] for rate in (one, other)]
    return float(stats.fisher_exact(table).pvalue)
