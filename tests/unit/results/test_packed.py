# SPDX-License-Identifier: GPL-2.0-only
"""Cells in little memory: none of what they say is lost."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from kstep.base.outcome import Outcome, Signature
from kstep.results.cell import CellRecord, Try
from kstep.results.packed import Packed
from tests.unit.results.material import a_cell

CELLS = 2000


def test_what_was_put_comes_back_in_order() -> None:
    tried = Try(Outcome.ERROR, Signature.MACHINE_DIED, "QEMU ended", 1.0, 0.5, {"trace": "x"})
    cells = [
        a_cell("none"),
        a_cell("v5/1", seen="stuck", held=True, died_at_boot=True),
        a_cell("v5/2", earlier=(tried,)),
        replace(a_cell("none"), cell=replace(a_cell("none").cell, compiler="clang", suite="sid")),
        replace(a_cell("v6/1"), message="\x1b ü \n", metrics={"steps": 3, "rate": 0.1}),
    ]
    packed = Packed()
    for each in cells:
        packed.put(each)
    assert list(packed.values()) == cells
    assert [packed.get(each.cell) for each in cells] == cells
    assert list(packed.outcomes()) == [(each.cell, each.outcome) for each in cells]
    assert packed.get(a_cell("v7").cell) is None


def test_a_later_one_takes_the_place_of_an_earlier() -> None:
    packed = Packed()
    for seen in ("stuck", "pass"):
        for variant in ("none", "v5/1"):
            packed.put(a_cell(variant, seen=seen))
    assert [each.cell.variant for each in packed.values()] == ["none", "v5/1"]
    assert {outcome for _, outcome in packed.outcomes()} == {Outcome.PASS}


def test_what_json_cannot_hold_is_refused() -> None:
    packed = Packed()
    with pytest.raises(ValueError, match="JSON"):
        packed.put(replace(a_cell("none"), metrics={"rate": float("nan")}))
    assert len(packed) == 0


def test_a_cell_costs_less_than_a_kilobyte() -> None:
    """As each comes: with strings and numbers of its own."""
    packed = Packed()

    def a_new(number: int) -> CellRecord:
        cell = a_cell("none", repeat=number)
        files = {name: f"cells/debian=6.1/base/none/x/{number}/{name}" for name in ("log", "trace")}
        return replace(cell, files=files, seconds=number / 7, metrics={"steps": number * 31})

    packed.put(a_new(0))
    tracemalloc.start()
    try:
        for number in range(1, CELLS + 1):
            packed.put(a_new(number))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / CELLS < 600
