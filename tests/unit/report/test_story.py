# SPDX-License-Identifier: GPL-2.0-only
"""What a cell came to, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.outcome import Outcome, Signature
from kstep.report.story import expectation, happened, headline, remarks
from kstep.results.cell import Try
from kstep.results.provenance import LeftOut
from kstep.results.verdict import exit_status
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.results.cell import CellRecord

DIED = Try(Outcome.ERROR, Signature.MACHINE_DIED, "QEMU\x1b", 1.0, 0.5, {})
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
        (
            a_cell(earlier=(DIED,)),
            "The claim held.\nAn earlier try ended without a verdict (machine-died): QEMU\\x1b",
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


def test_what_nobody_described_is_said_to_be_held_against_none(tmp_path: Path) -> None:
    """With how many did worse, which is what the exit status says."""
    cells = [
        a_cell(variant, name, seen, held=True)
        for name, none, mine in (("a", "stuck", "rehit"), ("b", "pass", "stuck"))
        for variant, seen in (("none", none), ("mine/1", mine))
    ]
    record = a_record(tmp_path, *cells)
    assert remarks(record) == [
        "Nobody said what to expect of mine: none is the measure, and 1 cell does worse."
    ]
    assert headline(record.cells) == "1 of 4 cells do worse than with none."
    known, worse = ([each for each in record.cells if each.cell.name == name] for name in "ab")
    (mine,) = (each for each in known if each.cell.variant == "mine/1")
    assert expectation(mine).startswith("nothing is predicted; none fails too")
    (mine,) = (each for each in worse if each.cell.variant == "mine/1")
    assert expectation(mine) == "nothing is predicted, so it has to pass: it did not: stuck"
    assert exit_status(record.cells) == 1
    assert exit_status(known) == 0
    assert headline(known) == "None of 2 cells does worse than with none."


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.left_out = (
        LeftOut("debian:6.1", "mine/2", "it needs 1"),
        LeftOut("debian:6.1", "none", "s is not run"),
        LeftOut("debian:6.1", "mine/1", "s is not run"),
    )
    assert remarks(record) == [
        "left out: debian:6.1 mine/2: it needs 1",
        "left out: debian:6.1 none, mine/1: s is not run",
    ]
