# SPDX-License-Identifier: GPL-2.0-only
"""A simulated run on clusters: sums that must come out, and what becomes the limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kstep.cluster.forecast import Costs, Load, simulate, text
from tests.unit.results.material import a_cell

FREE = Costs(0, 0, 0, 0, 0, 0, 1e9, 0, 0, 0)
SESSIONS = [[1.0, 2.0], [4.0]]
LOAD = Load.matrix(2, 3, SESSIONS, 10)


def test_nothing_is_lost() -> None:
    assert LOAD.cells == 2 * 3 * 3 * 10
    assert len(LOAD.boots) == 2 * 3 * 2 * 10
    found = simulate(LOAD, 4, FREE)
    assert found.cpu == pytest.approx(7.0 * 60)
    assert found.wall >= found.cpu / 4


@pytest.mark.parametrize("cores", [1, 2, 16, 64, 1024])
def test_no_more_cores_than_there_are_work_and_none_is_idle_while_boots_wait(cores: int) -> None:
    """Any order of a list is within one boot of the best one (Graham, 1966)."""
    found = simulate(LOAD, cores, FREE)
    least = max(7.0 * 60 / cores, 4.0)
    assert least <= found.wall + 1e-6 <= least + 4.0 + 1e-6


def test_builds_of_a_family_are_on_one_host_and_come_first() -> None:
    costs = replace(FREE, full_build=160.0, variant_build=16.0, serial_build=5.0)
    one = simulate(LOAD, 16, costs)
    assert one.build == pytest.approx(2 * ((160 + 2 * 16) / 16 + 5))
    assert simulate(LOAD, 32, costs).build == pytest.approx((160 + 2 * 16) / 16 + 5)
    assert one.wall > one.build


@pytest.mark.parametrize(
    ("costs", "limit"),
    [
        (FREE, "cores"),
        (replace(FREE, record=1.0), "record"),
        (replace(FREE, schedule=1.0), "scheduler"),
        (replace(FREE, kernel_bytes=20e9), "shipping"),
    ],
)
def test_what_takes_the_most_is_the_limit(costs: Costs, limit: str) -> None:
    assert simulate(LOAD, 64, costs).limit == limit


def test_a_kernel_is_sent_to_each_host_once() -> None:
    costs = replace(FREE, kernel_bytes=1.0)
    assert simulate(LOAD, 16, costs).sent == 6  # to the client
    assert 6 < simulate(LOAD, 64, costs).sent <= 6 + 6 * 3


def test_loads_add_up() -> None:
    both = Load.all([LOAD, Load.matrix(1, 1, [[5.0]], 1)])
    assert both.families == [3, 3, 1]
    assert both.cells == LOAD.cells + 1
    assert both.boots[-1] == (6, [5.0])


def test_a_run_is_simulated_by_the_times_of_its_cells() -> None:
    cells = [replace(a_cell("none", repeat=n), seconds=3.0) for n in range(1, 9)]
    load = Load.of(cells)
    assert (load.cells, len(load.boots), load.families) == (8, 8, [])
    assert simulate(load, 2, FREE).wall == pytest.approx(12.0)
    assert text(load, [simulate(load, 2, FREE)])[0] == "8 cells, 8 boots"
