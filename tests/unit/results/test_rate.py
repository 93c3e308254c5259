# SPDX-License-Identifier: GPL-2.0-only
"""Rates against the formulas, worked out by other means."""

from __future__ import annotations

from fractions import Fraction
from math import comb, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.base.outcome import Outcome
from kstep.results.rate import ClusteredRate, Rate, compare

Z = 1.959963984540054  # of the normal distribution, two-sided 95 %


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    """Any rate of up to 60 repeats."""
    total = draw(st.integers(1, 60))
    return Rate(draw(st.integers(0, total)), total)


@given(rates())
def test_the_interval_is_wilsons(rate: Rate) -> None:
    n, p = rate.total, rate.passes / rate.total
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    assert rate.interval() == pytest.approx((middle - half, middle + half), abs=1e-9)


@given(rates(), rates())
def test_the_chance_is_fishers(one: Rate, other: Rate) -> None:
    passes, total = one.passes + other.passes, one.total + other.total

    def chance(k: int) -> Fraction:
        ways = comb(one.total, k) * comb(other.total, passes - k)
        return Fraction(ways, comb(total, passes))

    possible = range(max(0, passes - other.total), min(passes, one.total) + 1)
    seen = chance(one.passes)
    as_far = sum(chance(k) for k in possible if chance(k) <= seen)
    assert compare(one, other) == pytest.approx(float(as_far), rel=1e-6)


def test_a_known_value() -> None:
    # R 4: fisher.test(matrix(c(3, 1, 1, 3), 2)), the lady tasting tea
    assert compare(Rate(3, 4), Rate(1, 4)) == pytest.approx(0.4857143)


def test_errors_do_not_count() -> None:
    rate = Rate.of([Outcome.PASS, Outcome.ERROR, Outcome.FAIL, Outcome.PASS])
    assert rate == Rate(2, 3)
    assert rate.varies
    assert Rate.of([Outcome.ERROR]).interval() == (0.0, 1.0)


def test_it_reads_in_percent() -> None:
    assert str(Rate(19, 20)) == "95% (76-99)"


# -- rates of events in clusters


@given(st.lists(st.tuples(st.integers(0, 1), st.just(1)), min_size=2, max_size=80))
def test_clusters_of_one_trial_are_nearly_independent_trials(
    clusters: list[tuple[int, int]],
) -> None:
    """Only the quantile is Student's, and the variance one of a sample."""
    found = ClusteredRate(tuple(clusters))
    n, hits = len(clusters), sum(hit for hit, _ in clusters)
    assert (found.hits, found.trials) == (hits, n)
    expected = n - 1 if 0 < hits < n else n
    assert found.effective == pytest.approx(expected)
    low, high = found.interval()
    wilson = Rate(hits, n).interval()
    assert low <= wilson[0] + 1e-9
    assert high >= wilson[1] - 1e-9


def test_trials_that_all_agree_within_their_cluster_tell_no_more_than_one() -> None:
    """Ten clusters of fifty that are all hits or all misses: ten trials, not five hundred."""
    clusters = ClusteredRate(tuple((50 * (n % 2), 50) for n in range(10)))
    assert clusters.effective == pytest.approx(9.0)
    low, high = clusters.interval()
    assert high - low > 0.5
    independent = Rate(250, 500).interval()
    assert independent[1] - independent[0] < 0.1


def test_clusters_in_step_with_a_timer_have_no_interval_of_nothing() -> None:
    """Each landed at its second step: their variance is zero, and says nothing of the true rate."""
    locked = ClusteredRate(((1, 2),) * 60)
    assert locked.effective == 60.0
    low, high = locked.interval()
    assert low < 0.4
    assert high > 0.6


def test_clustered_intervals_hold_the_true_rate_as_often_as_they_say() -> None:
    """Of steps until the first hit, from a moment that is as likely as any other."""
    random, inside, share = Random(1), 0, 0.2  # noqa: S311 -- not for secrets
    for _ in range(400):
        clusters = []
        for _ in range(60):
            first = int(random.random() / share)  # the step in which the period ends
            clusters.append((1, first + 1) if first < 5 else (0, 5))
        low, high = ClusteredRate(tuple(clusters)).interval()
        inside += low <= 1 / 3 <= high  # one hit in 1 + 2 + 3 + 4 + 5 steps, by five
    assert inside / 400 > 0.93


def test_no_trials_tell_nothing() -> None:
    assert ClusteredRate(()).interval() == (0.0, 1.0)
    assert str(ClusteredRate(())) == "no verdict"
    assert str(ClusteredRate(((1, 1), (0, 1)))).startswith("50.0% (")
