# SPDX-License-Identifier: GPL-2.0-only
"""The result of a cell and of a run in words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kstep.base.outcome import Outcome, Signature
from kstep.report.story import (
    called,
    expectation,
    happened,
    headline,
    look_first,
    remarks,
    surprise,
)
from kstep.results.cell import Try
from kstep.results.provenance import LeftOut, SessionRecord
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
        ("pass", None, "no expectation, so it must pass: it did"),
        ("stuck", None, "no expectation, so it must pass: it did not: stuck"),
        ("pass", "pass", "pass, as expected"),
        ("stuck", "stuck", "stuck, as expected"),
        ("rehit", "stuck", "stuck, but was rehit"),
        ("no-boot", "stuck", "stuck was expected; there is no verdict"),
    ],
)
def test_what_was_expected(seen: str, wanted: str | None, words: str) -> None:
    assert expectation(a_cell(seen=seen, wanted=wanted)) == words


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([], "No test was run: there is no verdict."),
        (["pass", "pass"], "All 2 tests came out as expected."),
        (["pass", "stuck"], "1 of 2 tests came out other than expected."),
        (["pass", "no-boot"], "1 of 2 tests has no verdict."),
        (
            ["stuck", "no-boot"],
            "1 of 2 tests came out other than expected; 1 has no verdict.",
        ),
    ],
)
def test_the_headline(seen: list[str], words: str) -> None:
    assert headline([a_cell(seen=word) for word in seen]) == words


def test_a_series_without_expectations_is_compared_with_the_unpatched_kernel(
    tmp_path: Path,
) -> None:
    """With how many did worse, which is what the exit status says."""
    cells = [
        a_cell(variant, name, seen, held=True)
        for name, none, mine in (("a", "stuck", "rehit"), ("b", "pass", "stuck"))
        for variant, seen in (("none", none), ("mine/1", mine))
    ]
    record = a_record(tmp_path, *cells)
    assert remarks(record) == [
        "No expectations for mine; compared with the unpatched kernel: 1 regression."
    ]
    assert headline(record.cells) == (
        "1 regression in 4 tests, compared with the unpatched kernel."
    )
    known, worse = ([each for each in record.cells if each.cell.name == name] for name in "ab")
    (mine,) = (each for each in known if each.cell.variant == "mine/1")
    assert expectation(mine) == "no expectation; the unpatched kernel fails too"
    (mine,) = (each for each in worse if each.cell.variant == "mine/1")
    assert expectation(mine) == (
        "no expectation; the unpatched kernel passes: stuck is a regression"
    )
    assert exit_status(record.cells) == 1
    assert exit_status(known) == 0
    assert headline(known) == "No regressions in 2 tests, compared with the unpatched kernel."


def test_nothing_is_said_to_be_compared_if_the_unpatched_kernel_has_no_result(
    tmp_path: Path,
) -> None:
    """Old and merged runs may lack it, whatever the engine runs today."""
    cells = [a_cell("mine/1", "a", "stuck", held=True), a_cell("mine/1", "b", held=True)]
    record = a_record(tmp_path, *cells)
    nothing = "No expectations for mine, and no result of the unpatched kernel: nothing to compare"
    assert remarks(record) == [f"{nothing} with."]
    assert headline(record.cells) == "Nothing to compare with: 1 of 2 tests fails."
    (first, _) = record.cells
    assert expectation(first) == (
        "no expectation, and no result of the unpatched kernel to compare with"
    )
    assert surprise(first) == "stuck, with nothing to compare with"
    assert exit_status(record.cells) == 1

    none = a_cell("none", "a", "no-boot", held=True)
    assert remarks(a_record(tmp_path, none, *cells)) == [f"{nothing} with."]


def test_a_session_of_the_users_own_has_no_expectations_whatever_the_series(
    tmp_path: Path,
) -> None:
    cells = [a_cell(variant, "mine", held=True) for variant in ("none", "v6/1+2")]
    record = a_record(tmp_path, *cells, a_cell("v6/1+2", wanted="pass"))
    record.sessions["mine"] = SessionRecord("mine", "", "", "/home/me/mine.py", 1)
    assert remarks(record) == [
        "No expectations for mine; compared with the unpatched kernel: no regressions."
    ]


def test_what_has_no_counterpart_is_told_beside_what_has(tmp_path: Path) -> None:
    cells = [a_cell("none", "a", held=True), a_cell("mine/1", "a", "hang", held=True)]
    cells += [a_cell("mine/1", "b", "stuck", held=True), a_cell("mine/1", "c", held=True)]
    record = a_record(tmp_path, *cells)
    (line,) = remarks(record)
    assert line == (
        "No expectations for mine; compared with the unpatched kernel: 1 regression."
        " 2 tests had nothing to compare with."
    )
    assert headline(record.cells) == (
        "1 regression in 4 tests, compared with the unpatched kernel;"
        " 1 of 4 tests fails with nothing to compare with."
    )


def test_a_fault_is_looked_at_before_a_pass_and_that_before_no_verdict(tmp_path: Path) -> None:
    cells = [
        a_cell("v5/1", "a", "no-boot"),
        a_cell("v5/1", "b", "pass", "stuck"),
        a_cell("v5/1", "z", "rehit"),
        a_cell("v5/2", "step-in-order", "stuck", "pass"),
        a_cell("none", "c"),
    ]
    record = a_record(tmp_path, *cells)
    step = record.sessions["step-in-order"]
    record.sessions["step-in-order"] = replace(step, area="steps")
    found = []
    while (first := look_first(record)) is not None:
        found.append(f"{called(record, first.cell)}: {surprise(first)}")
        cells.remove(first)
        sessions = record.sessions
        record = a_record(tmp_path, *cells)
        record.sessions = sessions
    assert found == [
        "step-in-order with v5/2: expected pass, was stuck",
        "z with v5/1: expected pass, was rehit",
        "b with v5/1: expected stuck, was pass",
        "a with v5/1: no verdict: no-boot",
    ]


def test_a_cell_is_called_with_its_tree_if_there_are_several(tmp_path: Path) -> None:
    cells = [a_cell("v5/1", "s[x]"), a_cell("v5/1", "s[x]", tree="path:/x")]
    record = a_record(tmp_path, *cells)
    assert called(record, cells[1].cell) == "s[x] with path:/x/base/v5/1"


def test_what_was_skipped_is_said(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    record.left_out = (
        LeftOut("debian:6.1", "mine/2", "it needs 1"),
        LeftOut("debian:6.1", "none", "s is not run"),
        LeftOut("debian:6.1", "mine/1", "s is not run"),
    )
    assert remarks(record) == [
        "skipped: debian:6.1 mine/2: it needs 1",
        "skipped: debian:6.1 none, mine/1: s is not run",
    ]
