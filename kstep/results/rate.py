# SPDX-License-Identifier: GPL-2.0-only
"""A rate: how many of the repeats of a cell passed, and what that says about the next ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Self

from kstep.base.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIDENCE = 0.95
FEW = 2  # clusters, at least, whose variance is known


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
        return wilson(self.passes, self.total, _quantile(confidence))

    @property
    def half_width(self) -> float:
        """Half of the width of the interval."""
        low, high = self.interval()
        return (high - low) / 2

    def __str__(self) -> str:
        if not self.total:
            return "no verdict"
        low, high = (f"{100 * bound:.0f}" for bound in self.interval())
        return f"{100 * self.passes / self.total:.0f}% ({low}-{high})"


def _quantile(confidence: float) -> float:
    """Return within how many standard deviations of a normal ``confidence`` of it lies."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


Z = _quantile(CONFIDENCE)


def wilson(passes: float, total: float, z: float = Z) -> tuple[float, float]:
    """Return Wilson's score interval, of expected numbers too; ``z`` is a quantile."""
    if not total:
        return 0.0, 1.0
    share, square = passes / total, z * z
    middle = (share + square / (2 * total)) / (1 + square / total)
    half = z / (1 + square / total)
    half *= math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def repeats_to_see(failing: Rate, verdicts: int = 1, confidence: float = CONFIDENCE) -> int:
    """Return how often a kernel must pass to be called good.

    ``failing.passes`` counts the runs that failed. With the lower bound of that rate, the
    probability that a bad kernel passes so often by chance, in any of ``verdicts`` verdicts, is
    at most 1 - ``confidence``.
    """
    low, _ = failing.interval(confidence)
    return max(1, math.ceil(math.log((1 - confidence) / verdicts) / math.log(1 - low)))


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
        if many < FEW or not squares:
            return float(many)
        variance = squares * many / (many - 1) / trials**2
        return min(float(trials), share * (1 - share) / variance)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the bounds, from 0 to 1, of the true rate: Wilson's, of ``effective`` trials."""
        if not self.trials:
            return 0.0, 1.0
        from scipy import stats  # noqa: PLC0415 -- takes as long to load as all else

        # With few clusters their variance is uncertain too: Student's t for it (Korn and Graubard).
        z = float(stats.t.ppf((1 + confidence) / 2, max(1, len(self.clusters) - 1)))
        many = self.effective
        return wilson(self.hits / self.trials * many, many, z)

    def __str__(self) -> str:
        if not self.trials:
            return "no verdict"
        low, high = (f"{100 * bound:.1f}" for bound in self.interval())
        return f"{100 * self.hits / self.trials:.1f}% ({low}-{high})"
