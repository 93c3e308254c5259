# SPDX-License-Identifier: GPL-2.0-only
"""The list of sessions, and how long they usually take."""

from __future__ import annotations

from pathlib import Path

import pytest

from kstep.base.errors import MachineryError
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.session import catalogue, seconds
from kstep.session.session import Session, Stepped
from tests.unit.results.material import a_cell

CASES = (Stepped("f", "cat /f", "a leaf"), Stepped("g", "cat /g", "a loop"))
STEPS = Session(
    "steps",
    "It steps, and it goes on to do so for as long as the line.",
    print,
    CASES,
    Hardware(cpus=2),
    Path("s.py"),
    1,
    needs=("CONFIG_X",),
    requires={Capability.BREAK: "it breaks in"},
)
ALONE = Session("alone", "It works.", print, (), Hardware(), Path("s.py"), 1, unsettled="rare")


def test_a_session_is_told_in_lines_of_a_terminal() -> None:
    usual = {"steps[f]": 1.5, "steps[g]": 2.6}
    assert list(catalogue.lines([STEPS, ALONE], usual, 40)) == [
        "steps            2 tests, 4 s per kernel",
        "    It steps, and it goes on to do so",
        "    for as long as the line.",
        "    cases: f, g",
        "    needs: CONFIG_X; any number of CPUs;",
        "    BREAK on the serial line",
        "",
        "alone                             1 test",
        "    It works.",
        "    runs only by its full name: rare",
        "",
    ]


def test_a_choice_has_the_time_of_its_sessions() -> None:
    usual = {"steps[f]": 100.0, "steps[g]": 80.0, "alone": 3.0}
    told = list(catalogue.choice_lines({"few": (["steps", "al*"], [STEPS, ALONE])}, usual, 40))
    assert told == ["few            3 tests, 3 min per kernel", "    selects: steps, al*", ""]


def test_a_time_that_is_not_known_is_not_given() -> None:
    assert seconds.of(STEPS, {"steps[f]": 1.0}) is None
    assert seconds.of(ALONE, {"alone": 1.0}) == 1.0


def test_what_a_run_measured_is_kept_beside_the_rest(tmp_path: Path) -> None:
    assert seconds.load(tmp_path) == {}
    seconds.save(tmp_path, {"a": 1.0, "b": 2.0})
    cells = [a_cell("none"), a_cell("v6/1"), a_cell("v6/2")]
    seconds.save(tmp_path, {**seconds.measured(cells), "b": 3.0})
    assert seconds.load(tmp_path) == {"a": 1.0, "b": 3.0, cells[0].cell.name: cells[0].seconds}
    assert [path.name for path in tmp_path.iterdir()] == [seconds.FILE]


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "x"}', '{"a": null}'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / seconds.FILE).write_text(text)
    with pytest.raises(MachineryError, match=seconds.FILE):
        seconds.load(tmp_path)
