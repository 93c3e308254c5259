# SPDX-License-Identifier: GPL-2.0-only
"""Whether two rates differ, asked again after every repeat: a test that may be looked at any time.

Fisher's exact test is for numbers of repeats that were fixed before. Looked at again and again, it
finds a difference sooner or later where there is none. Here the evidence is an e-process: a bet
against equal rates, which cannot be expected to win if they are equal, whatever they are (Turner,
Ly and Grünwald, "Generic E-variables for exact sequential k-sample tests that allow for optional
stopping", 2024). By Ville's inequality it ever reaches 1/alpha with a probability of at most alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ALPHA = 0.05  # the probability of a difference that is none, over all comparisons and for ever
PRIOR = 0.18  # of Beta(PRIOR, PRIOR), from which the bets start; the authors' choice


@dataclass
class Evidence:
    """The evidence that two rates differ, from pairs of repeats, one of each.

    ``differ_after`` is the number of pairs after which it sufficed, None as long as it does not.
    ``comparisons`` is how many are made together: the error is shared among them.
    """

    comparisons: int = 1
    pairs: int = 0
    differ_after: int | None = None
    _log: float = 0.0
    _passes: tuple[int, int] = (0, 0)

    @property
    def value(self) -> float:
        """How many times the bet has multiplied its stake."""
        return math.exp(min(self._log, 700.0))

    @property
    def needed(self) -> float:
        """The value at which the rates are said to differ."""
        return self.comparisons / ALPHA

    def take(self, one: bool, other: bool) -> None:  # noqa: FBT001 -- whether each passed
        """Take a pair of repeats: bet on it by those before, and see what it came to."""
        first, second = ((passes + PRIOR) / (self.pairs + 2 * PRIOR) for passes in self._passes)
        common = (first + second) / 2
        for passed, alternative in ((one, first), (other, second)):
            self._log += math.log(alternative if passed else 1 - alternative)
            self._log -= math.log(common if passed else 1 - common)
        self._passes = (self._passes[0] + one, self._passes[1] + other)
        self.pairs += 1
        if self.differ_after is None and self._log >= math.log(self.needed):
            self.differ_after = self.pairs


def compare(one: Iterable[bool], other: Iterable[bool], comparisons: int = 1) -> Evidence:
    """Compare the repeats of two cells, each in order; the longer one's surplus is ignored."""
    evidence = Evidence(comparisons)
    for pair in zip(one, other, strict=False):
        evidence.take(*pair)
    return evidence
