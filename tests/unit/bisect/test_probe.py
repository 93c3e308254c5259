# SPDX-License-Identifier: GPL-2.0-only
"""A verdict on one revision."""

from __future__ import annotations

import pytest

from kstep.bisect.probe import BAD, GOOD, SKIP, Verdict


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict("a" * 40, "x", GOOD, ("pass",) * 4), f"good     {'a' * 12} x: passes 4 of 4"),
        (Verdict("a" * 40, "x", BAD, ("pass", "stuck")), f"bad      {'a' * 12} x: stuck in run 2"),
        (Verdict("a" * 40, "x", SKIP, (), "why"), f"skipped  {'a' * 12} x: why"),
    ],
)
def test_a_verdict_in_words(verdict: Verdict, words: str) -> None:
    assert str(verdict) == words
