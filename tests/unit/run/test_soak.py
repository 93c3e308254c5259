# SPDX-License-Identifier: GPL-2.0-only
"""Which repeats a soak plans: most where the least is known, and no more than are needed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.base.outcome import Outcome
from kstep.results.rate import Rate
from kstep.results.record import load
from kstep.run.soak import Soak
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.results.cell import Cell
    from kstep.results.record import Record

ALWAYS, SOMETIMES = a_cell("none").cell, a_cell("v5/1").cell


def soaked(
    record: Record, policy: Soak, rates: dict[str, float], rounds: int = 10_000
) -> Counter[Cell]:
    """Run rounds whose cells pass at the rates of their variants; returns the repeats of each."""
    chance = random.Random("soak")  # noqa: S311 -- it is to be repeatable
    for planned, _ in zip(policy.rounds(record, [ALWAYS, SOMETIMES]), range(rounds), strict=False):
        for cell in planned:
            seen = "pass" if chance.random() < rates[cell.variant] else "stuck"
            record.add(a_cell(cell.variant, seen=seen, repeat=cell.repeat))
    return Counter(replace(cell, repeat=1) for cell, _ in record.outcomes())


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fdatasync", lambda _file: None)


def test_it_repeats_until_each_rate_is_known_and_hardly_more(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    counts = soaked(record, Soak(0.05, 10_000, 2), {"none": 1.0, "v5/1": 0.5})
    assert 35 <= counts[ALWAYS] <= 45  # Wilson: 35 if all pass
    assert 375 <= counts[SOMETIMES] <= 430  # 381 at one half
    for variant in ("none", "v5/1"):
        outcomes = [o for cell, o in record.outcomes() if cell.variant == variant]
        assert Rate.of(outcomes).half_width <= 0.05
        repeats = sorted(cell.repeat for cell, _ in record.outcomes() if cell.variant == variant)
        assert repeats == list(range(1, len(repeats) + 1))  # each once


def test_most_is_the_limit(tmp_path: Path) -> None:
    counts = soaked(a_record(tmp_path), Soak(0.01, 30, 2), {"none": 1.0, "v5/1": 0.5})
    assert set(counts.values()) == {30}


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    rates = {"none": 1.0, "v5/1": 0.5}
    first = soaked(a_record(tmp_path), Soak(0.1, 1000, 2), rates, rounds=3)
    counts = soaked(load_written(tmp_path), Soak(0.1, 1000, 2), rates)
    assert counts[SOMETIMES] > first[SOMETIMES]
    assert counts[SOMETIMES] < 110
    assert soaked(load_written(tmp_path), Soak(0.1, 1000, 2), rates) == counts


def load_written(folder: Path) -> Record:
    """Read the run again, as after a kill."""
    record = load(folder)
    record.write()
    return record


def test_cells_without_a_verdict_do_not_count_but_are_not_repeated_for_ever(tmp_path: Path) -> None:
    record = a_record(tmp_path)
    for planned in Soak(0.1, 20, 2).rounds(record, [ALWAYS]):
        for cell in planned:
            record.add(a_cell("none", seen="no-boot", repeat=cell.repeat))
    outcomes = [outcome for _, outcome in record.outcomes()]
    assert outcomes == [Outcome.ERROR] * 20


@pytest.mark.parametrize(
    ("width", "most"), [(0.0, 9), (0.5, 9), (-1.0, 9), (0.1, 0), (0.1, 10_001)]
)
def test_what_cannot_be_is_refused(width: float, most: int) -> None:
    with pytest.raises(RequestError, match=r"^--(until-half-width|most) .*: must be "):
        Soak(width, most, 2)
