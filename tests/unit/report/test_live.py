# SPDX-License-Identifier: GPL-2.0-only
"""The table while a run goes on: what stands on top, and that it fits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from kstep.report.live import so_far
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from kstep.results.cell import CellRecord

NOWHERE = Path("/nonexistent")


def lines(*cells: CellRecord, width: int = 80, height: int = 20) -> list[str]:
    """Draw what has ended, and split it."""
    text = so_far(a_record(NOWHERE, *cells), width, height)
    return [line.rstrip() for line in text.plain.splitlines()]


def test_it_grows_as_cells_end() -> None:
    first = a_cell("none", "s[a]", "stuck", "stuck")
    assert lines(first) == ["  none", "s (stuck)"]
    second = a_cell("v5/1", "t", message="x")
    assert lines(first, second) == ["  none    v5/1", "s (stuck)", "t         pass"]


def test_what_is_not_as_expected_comes_first() -> None:
    cells = [a_cell("none", "a"), a_cell("none", "b"), a_cell("v5/1", "b", "rehit", "stuck")]
    assert lines(*cells) == [
        "! b with v5/1: expected stuck, was rehit",
        "  none    v5/1",
        "b pass    rehit!",
        "a pass",
    ]


def test_cases_that_differ_are_counted() -> None:
    cells = [a_cell("none", "s[a]"), a_cell("none", "s[b]"), a_cell("none", "s[c]", "hang", "hang")]
    assert lines(*cells)[1] == "s 2/3"


def test_of_many_sessions_the_latest_are_shown() -> None:
    cells = [a_cell("none", f"s{n}") for n in range(30)]
    cells.append(a_cell("none", "s3", "stuck"))
    found = lines(*cells[:3], *cells[4:], height=8)
    assert found[0] == "! s3 with none: expected pass, was stuck"
    assert found[2:] == ["s3  stuck!", "(25 more)", "s26 pass", "s27 pass", "s28 pass", "s29 pass"]


def test_of_many_surprises_the_first_are_told_and_the_others_counted() -> None:
    found = lines(*(a_cell("none", f"s{n}", "stuck") for n in range(30)), height=12)
    assert found[4].startswith("! s4 ")
    assert found[5] == "! and 25 more not as expected"
    assert len(found) == 12


def test_nothing_has_ended_yet() -> None:
    assert lines() == []


name = st.text(st.characters(), min_size=1, max_size=90)
variants = st.sampled_from(["none", *(f"v{n}/{m}" for n in range(9) for m in "12")])


@example(20, 4, [("none", "0", "pass"), ("none", "\n", "pass"), ("none", "00", "pass")])
@given(
    st.integers(20, 200),
    st.integers(1, 40),
    st.lists(st.tuples(variants, name, st.sampled_from(["pass", "stuck", "no-boot"]))),
)
def test_it_fits_whatever_the_names_are(
    width: int, height: int, drawn: list[tuple[str, str, str]]
) -> None:
    text = so_far(a_record(NOWHERE, *(a_cell(*each) for each in drawn)), width, height).plain
    found = text.split("\n")
    assert len(found) <= height
    assert all(cell_len(line) <= width for line in found)
