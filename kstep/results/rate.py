# SPDX-License-Identifier: GPL-2.0-only
"""A rate: how many of the repeats of a cell passed, and what that says about the next ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from kstep.base.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIDENCE = 0.95
Z = 1.959963984540054  # of a standard normal, 95 % lie within


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

    @property
    def half_width(self) -> float:
        """Half of the width of the interval."""
        low, high = wilson(self.passes, self.total)
        return (high - low) / 2

    def __str__(self) -> str:
        if not self.total:
            return "no verdict"
        low, high = (f"{100 * bound:.0f}" for bound in self.interval())
        return f"{100 * self.passes / self.total:.0f}% ({low}-{high})"


def wilson(passes: float, total: float) -> tuple[float, float]:
    """Return interval() without the test that it is of: for many rates, and expected ones."""
    if not total:
        return 0.0, 1.0
    share, square = passes / total, Z * Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = Z / (1 + square / total)
    half *= math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def compare(one: Rate, other: Rate) -> float:
    """Return how likely such a difference is by chance alone: Fisher's exact test.

    Two-sided; 1 if one of them has no repeats.
    """
    from scipy import stats  # noqa: PLC0415 -- takes as long to load as all else

    table = [[rate.passes, rate.total - rate.passes] for rate in (one, other)]
    return float(stats.fisher_exact(table).pvalue)


@dataclass(frozen=True)
class ClusteredRate:
    """A rate of events that come in clusters: ``(hits, trials)`` of each cluster.

    Trials of one cluster depend on each other; clusters are independent.
    """

    clusters: tuple[tuple[int, int], ...]

    @property
    def hits(self) -> int:
        """The hits of all clusters."""
        return sum(hits for hits, _ in self.clusters)

    @property
    def trials(self) -> int:
        """The trials of all clusters."""
        return sum(trials for _, trials in self.clusters)

    @property
    def effective(self) -> float:
        """How many independent trials would tell as much: never more than there were.

        From the variance of the ratio of two sums over clusters (Cochran, "Sampling Techniques",
        6.3). If no cluster differs from the others, the variance says nothing about its own
        error, as with no hit at all: then each cluster counts as one trial.
        """
        many, trials = len(self.clusters), self.trials
        share = self.hits / trials if trials else 0.0
        squares = sum((h - share * n) ** 2 for h, n in self.clusters)
        if many < 2 or not squares:  # noqa: PLR2004 -- a variance needs two
            return float(many)
        variance = squares * many / (many - 1) / trials**2
        return min(float(trials), share * (1 - share) / variance)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the bounds, from 0 to 1, of the true rate: Wilson's, of ``effective`` trials."""
        if not self.trials:
            return 0.0, 1.0
        from scipy import stats  # noqa: PLC0415 -- takes as long to load as all else

        share, many = self.hits / self.trials, self.effective
        # With few clusters their variance is uncertain too: Student's t for it (Korn and Graubard).
        z = float(stats.t.ppf((1 + confidence) / 2, max(1, len(self.clusters) - 1)))
        middle = (share + z * z / (2 * many)) / (1 + z * z / many)
        half = z * (share * (1 - share) / many + z * z / (4 * many * many)) ** 0.5
        half /= 1 + z * z / many
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        if not self.trials:
            return "no verdict"
        low, high = (f"{100 * bound:.1f}" for bound in self.interval())
        return f"{100 * self.hits / self.trials:.1f}% ({low}-{high})"
