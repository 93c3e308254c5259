# SPDX-License-Identifier: GPL-2.0-only
"""A test that is looked at after every repeat: how often it errs, and how soon it is right."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.results.sequential import ALPHA, Evidence, compare

LONG = 1000  # pairs, at each of which it is looked at


def repeats(rate: float, seed: str) -> list[bool]:
    """Return repeats that pass at a rate."""
    chance = random.Random(seed)  # noqa: S311 -- it is to be repeatable
    return [chance.random() < rate for _ in range(LONG)]


@pytest.mark.parametrize("rate", [0.02, 0.5, 0.9, 0.99])
def test_equal_rates_are_seldom_called_different(rate: float) -> None:
    """Looked at a thousand times in each of 200 runs: in at most 5 %, and some by chance."""
    found = [
        compare(repeats(rate, f"a{rate}{n}"), repeats(rate, f"b{rate}{n}")).differ_after
        for n in range(200)
    ]
    assert sum(each is not None for each in found) <= 200 * ALPHA + 9  # three deviations


@given(st.floats(0.0, 1.0), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=8))
def test_no_bet_can_be_expected_to_win_if_the_rates_are_equal(
    rate: float, before: list[tuple[bool, bool]]
) -> None:
    """Exactly, for the next pair, after anything: that is what the error rests on."""
    expected = 0.0
    for one, other in itertools.product((False, True), repeat=2):
        evidence = Evidence()
        for pair in before:
            evidence.take(*pair)
        value = evidence.value
        evidence.take(one, other)
        chance = (rate if one else 1 - rate) * (rate if other else 1 - rate)
        expected += chance * evidence.value / value
    assert expected <= 1 + 1e-9


@pytest.mark.parametrize(
    ("one", "other", "most"), [(1.0, 0.0, 12), (1.0, 0.5, 60), (0.9, 0.6, 300)]
)
def test_different_rates_are_found(one: float, other: float, most: int) -> None:
    found = [
        compare(repeats(one, f"a{n}"), repeats(other, f"b{n}")).differ_after for n in range(20)
    ]
    assert sum(each is not None and each <= most for each in found) >= 18


def test_more_comparisons_need_more_evidence() -> None:
    passes, fails = [True] * 100, [False] * 100
    alone, among = compare(passes, fails), compare(passes, fails, comparisons=1000)
    assert alone.differ_after is not None
    assert among.differ_after is not None
    assert alone.differ_after < among.differ_after
    assert among.needed == 1000 / ALPHA


def test_without_pairs_nothing_is_known() -> None:
    evidence = compare([True] * 9, [])
    assert (evidence.pairs, evidence.value, evidence.differ_after) == (0, 1.0, None)
