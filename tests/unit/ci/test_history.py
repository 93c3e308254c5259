# SPDX-License-Identifier: GPL-2.0-only
"""Which figures of a bench are worse than those of the last ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ci.history import KEPT, LAST, LEAST, add
from kstep.base.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

RATES = [0.98, 0.97, 0.99, 0.98, 0.98, 0.97]  # must be at least 0.9: median 0.98, spread 0.01
COSTS = [1.02, 1.05, 1.03, 1.04, 1.03, 1.02]  # at most 1.1: median 1.03, spread 0.01


def night(folder: Path, *, at: str = "c", **values: tuple[float, float, bool]) -> list[str]:
    """Record what was measured in a night; return what is worse."""
    figures = {
        name: {"value": value, "bound": bound, "met": met}
        for name, (value, bound, met) in values.items()
    }
    bench = folder / "bench.json"
    bench.write_text(json.dumps({"figures": figures, "rates": {}}))
    return [each.name for each in add(bench, folder / "history", at)]


def nights(folder: Path) -> None:
    """Record the usual nights."""
    for rate, cost in zip(RATES, COSTS, strict=True):
        assert night(folder, rate=(rate, 0.9, True), cost=(cost, 1.1, True)) == []


@pytest.mark.parametrize(
    ("rate", "cost", "worse"),
    [
        (0.98, 1.03, []),
        (0.971, 1.04, []),  # within the spread
        (0.91, 1.03, ["rate"]),
        (0.98, 1.042, ["cost"]),
        (0.95, 1.09, ["rate", "cost"]),  # within its bound, and worse than it was
        (1.5, 0.5, []),  # better
        (0.5, 1.03, ["rate"]),  # out of its bound: which side is good can still be told
        (0.98, 2.0, ["cost"]),
    ],
)
def test_a_figure_that_is_behind_by_more_than_the_spread(
    tmp_path: Path, rate: float, cost: float, worse: list[str]
) -> None:
    nights(tmp_path)
    found = night(tmp_path, rate=(rate, 0.9, rate >= 0.9), cost=(cost, 1.1, cost <= 1.1))
    assert found == worse


def test_one_bad_night_does_not_hide_the_next(tmp_path: Path) -> None:
    nights(tmp_path)
    assert night(tmp_path, rate=(0.5, 0.9, False)) == ["rate"]
    assert night(tmp_path, rate=(0.9, 0.95, False)) == ["rate"]


def test_a_figure_at_its_bound_is_good_enough(tmp_path: Path) -> None:
    for _ in range(LEAST):
        assert night(tmp_path, objects=(0, 0, True)) == []
    assert night(tmp_path, objects=(3, 0, False)) == ["objects"]


def test_few_nights_say_nothing(tmp_path: Path) -> None:
    for _ in range(LEAST - 1):
        night(tmp_path, rate=(0.98, 0.9, True))
    assert night(tmp_path, rate=(0.1, 0.9, False), fresh=(1.0, 0.9, True)) == []
    assert night(tmp_path, rate=(0.1, 0.9, False), fresh=(0.1, 0.9, False)) == ["rate"]


def test_only_the_last_count(tmp_path: Path) -> None:
    for _ in range(LAST):
        night(tmp_path, rate=(0.98, 0.5, True))
    assert night(tmp_path, rate=(0.6, 0.5, True)) == ["rate"]
    for _ in range(LAST):
        night(tmp_path, rate=(0.6, 0.5, True))
    assert night(tmp_path, rate=(0.6, 0.5, True)) == []


def test_a_line_of_the_file(tmp_path: Path) -> None:
    night(tmp_path, at="abc", rate=(0.98, 0.9, True))
    night(tmp_path, at="def", rate=(0.97, 0.9, True))
    lines = [json.loads(line) for line in (tmp_path / "history").read_text().splitlines()]
    assert [line["commit"] for line in lines] == ["abc", "def"]
    assert lines[0]["figures"] == {"rate": {"value": 0.98, "bound": 0.9, "met": True}}
    assert lines[0]["time"] > 1.7e9


def test_a_history_does_not_grow_for_ever(tmp_path: Path) -> None:
    night(tmp_path, at="first", rate=(0.98, 0.9, True))
    history = tmp_path / "history"
    history.write_text(history.read_text() * KEPT)
    night(tmp_path, at="last", rate=(0.98, 0.9, True))
    lines = history.read_text().splitlines()
    assert len(lines) == KEPT
    assert '"last"' in lines[-1]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"figures": []}', '{"figures": {"a": 1}}'])
def test_other_files_are_refused_and_left(tmp_path: Path, text: str) -> None:
    bench, history = tmp_path / "bench.json", tmp_path / "history"
    with pytest.raises(RequestError, match="No such file"):
        add(bench, history, "")
    bench.write_text(text)
    with pytest.raises(RequestError, match="must be what"):
        add(bench, history, "")
    assert not history.exists()
    night(tmp_path)
    before = history.read_text() + text + "\n"
    history.write_text(before)
    with pytest.raises(RequestError, match="history:2: must be"):
        night(tmp_path)
    assert history.read_text() == before
