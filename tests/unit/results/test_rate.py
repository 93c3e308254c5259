# SPDX-License-Identifier: GPL-2.0-only
"""Rates against the formulas, worked out by other means."""

from __future__ import annotations

from fractions import Fraction
from math import comb, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.base.outcome import Outcome
from kstep.results.rate import Rate, compare

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
