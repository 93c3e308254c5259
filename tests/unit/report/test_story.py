# SPDX-License-Identifier: GPL-2.0-only
"""What a cell came to, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.report.story import expectation, happened, headline
from tests.unit.test_record import a_cell

if TYPE_CHECKING:
    from kstep.record import CellRecord

STEPS = {"steps": 300, "in_order": 300, "distinct_pcs": 280}


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (a_cell(seen="stuck", message="at\x1b x"), "at\\x1b x"),
        (a_cell(seen="stuck"), "stuck"),
        (a_cell(seen="no-boot"), "no-boot"),
        (a_cell(), "The claim held."),
        (a_cell(metrics={"steps": 0}), "The claim held."),
        (a_cell(metrics={"steps": "many"}), "The claim held."),
        (
            a_cell(metrics=STEPS),
            "The claim held: 300 steps, all in program order, over 280 different instructions.",
        ),
        (
            a_cell(metrics={"steps": 3, "in_order": 2}),
            "The claim held: 3 steps, 2 in program order.",
        ),
    ],
)
def test_what_happened(cell: CellRecord, words: str) -> None:
    assert happened(cell) == words


@pytest.mark.parametrize(
    ("seen", "wanted", "words"),
    [
        ("pass", None, "nothing is predicted, so it has to pass: it did"),
        ("stuck", None, "nothing is predicted, so it has to pass: it did not: stuck"),
        ("pass", "pass", "pass, as predicted"),
        ("stuck", "stuck", "stuck, as predicted"),
        ("rehit", "stuck", "stuck, but: rehit"),
        ("no-boot", "stuck", "stuck was expected; there is no verdict"),
    ],
)
def test_what_was_expected(seen: str, wanted: str | None, words: str) -> None:
    assert expectation(a_cell(seen=seen, wanted=wanted)) == words


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([], "No cell was run: there is no verdict."),
        (["pass", "pass"], "All 2 cells came out as predicted."),
        (["pass", "stuck"], "1 of 2 cells came out other than predicted."),
        (["pass", "no-boot"], "1 of 2 have no verdict."),
        (
            ["stuck", "no-boot"],
            "1 of 2 cells came out other than predicted; 1 of 2 have no verdict.",
        ),
    ],
)
def test_the_headline(seen: list[str], words: str) -> None:
    assert headline([a_cell(seen=word) for word in seen]) == words
