# SPDX-License-Identifier: GPL-2.0-only
"""What a setup is called: as before there was a choice of tools, unless another one was made."""

from __future__ import annotations

import pytest

from kstep.results.cell import Cell
from kstep.results.layout import cell_folder
from kstep.results.setup import Setup
from tests.unit.results.material import a_cell


@pytest.mark.parametrize(
    ("setup", "name", "title"),
    [
        (Setup("debian:6.1", "base"), "debian:6.1/base", "debian:6.1, kconfig base"),
        (Setup("t", "rt", "clang"), "t/rt/clang", "t, kconfig rt, clang"),
        (Setup("t", "rt", suite="sid"), "t/rt/sid", "t, kconfig rt, sid"),
        (Setup("t", "rt", "clang", "sid"), "t/rt/clang/sid", "t, kconfig rt, clang, sid"),
    ],
)
def test_only_what_is_not_usual_is_named(setup: Setup, name: str, title: str) -> None:
    assert (setup.name, setup.title) == (name, title)
    cell = Cell(setup.tree, setup.kconfig, "v6/1", "x", None, 2, setup.compiler, setup.suite)
    assert cell.column == f"{name}/v6/1"
    assert str(cell_folder(cell)) == f"cells/{name.replace(':', '=')}/v6,1/x/2"


def test_a_cell_of_an_older_run_was_compiled_by_gcc() -> None:
    item = a_cell().to_json()
    new = type(a_cell()).from_json(item)
    del item["compiler"], item["suite"]
    assert type(new).from_json(item) == new
