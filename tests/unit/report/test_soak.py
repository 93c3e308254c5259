# SPDX-License-Identifier: GPL-2.0-only
"""What is told of a run that repeats its cells, from its record alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kstep.report import soak
from kstep.results.record import load
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.results.record import Record


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """A cell that always passes with none, and every third time with v5/1."""
    monkeypatch.setattr("os.fdatasync", lambda _file: None)
    made = a_record(tmp_path)
    for number in range(1, 61):
        made.add(a_cell("none", repeat=number))
        made.add(a_cell("v5/1", seen="pass" if number % 3 == 0 else "stuck", repeat=number))
    made.add(a_cell("none", seen="no-boot", repeat=61))
    made.write()
    return load(tmp_path)


def test_each_rate_has_its_interval(record: Record) -> None:
    said = soak.text(record, 0.05)
    (none,) = [line for line in said if line.startswith("  none ")]
    assert "60 of 60  100.00 % (93.98-100.00)" in none
    assert none.endswith("1 without a verdict")
    (other,) = [line for line in said if line.startswith("  v5/1 ")]
    wanted = "20 of 60 33.33 % (22.73-45.94) known to ±11.61 %"
    assert other.split()[2:] == wanted.split()


def test_variants_that_differ_are_named_with_the_error(record: Record) -> None:
    said = "\n".join(soak.text(record, 0.05))
    assert "that any difference named here is none is at most 5%" in said
    (found,) = soak.differences(soak.repeated(record))
    assert found.evidence.differ_after is not None
    assert found.evidence.differ_after < 30
    assert f"none and v5/1 differ: known after {found.evidence.differ_after} of 60 pairs" in said


def test_the_first_failure_is_named_with_what_repeats_it(record: Record) -> None:
    said = soak.text(record, 0.05)
    (at,) = [n for n, line in enumerate(said) if "failed first in repeat 1: stuck" in line]
    assert said[at + 1].startswith("  transcript: ")
    assert said[at + 2].startswith("  to repeat it: ")
    # It fails in 54 % at least, with 95 % confidence: 1 - 0.46**4 > 95 %
    assert said[at + 2].endswith(" --repeat 4")


def test_the_table_has_the_least_known_first_and_fits(record: Record) -> None:
    lines = soak.rates_so_far(record, 0.05, 60, 3).plain.split("\n")
    assert lines[0] == "1 of 2 rates known to ±5 %; 1 differences"
    assert lines[1].startswith("  v5/1 ")
    assert all(len(line) <= 60 for line in lines)
    assert soak.rates_so_far(record, 0.05, 60, 2).plain == ""


def test_the_files_have_it_all(record: Record) -> None:
    soak.write(record, 0.05)
    facts = json.loads((record.folder / soak.FACTS).read_text())
    assert [(each["passes"], each["total"]) for each in facts["cells"]] == [(60, 60), (20, 60)]
    assert facts["differences"][0]["evidence"] > facts["differences"][0]["needed"]
    drawn = (record.folder / soak.PICTURE).read_text()
    assert drawn.startswith("<svg")
    assert drawn.count("v5/1") >= 1
    assert (record.folder / soak.TEXT).read_text().startswith("rate of passes")


def test_a_run_without_repeats_can_be_told(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    soak.write(record, 0.05)
    assert soak.repeated(record) == []
