# SPDX-License-Identifier: GPL-2.0-only
"""Folders of cells: one each, on any file system."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

from hypothesis import example, given
from hypothesis import strategies as st

from kstep.results.cell import Cell
from kstep.results.layout import cell_folder as folder


def test_folder_is_readable() -> None:
    cell = Cell("debian:6.1", "base", "v5/1+2", "step-in-order", "get_avenrun", 3)
    assert str(folder(cell)) == "cells/debian=6.1/base/v5,1+2/step-in-order/get_avenrun/3"
    cell = Cell("path:/home/me/linux", "base", "none", "step-in-order", None, 1)
    assert str(folder(cell)) == "cells/path=,home,me,linux/base/none/step-in-order/1"


names = (
    st.text(st.sampled_from("a:/=,._-%~é \0"), max_size=3)
    | st.text(st.characters())
    | st.just("x" * 300)
)
cells = st.builds(Cell, names, names, names, names, st.none() | names, st.integers(1, 30))


@given(cells, cells)
def test_no_two_cells_share_a_folder(one: Cell, other: Cell) -> None:
    assert (folder(one) == folder(other)) == (one == other)


@given(names, names)
@example("", "_")
@example("", "%")
@example("a:", "a=")
@example("x" * 300, "x" * 301)
def test_no_two_trees_share_a_folder(one: str, other: str) -> None:
    paths = [folder(Cell(tree, "base", "none", "s", None, 1)) for tree in (one, other)]
    assert (paths[0] == paths[1]) == (one == other)


@given(cells)
def test_a_folder_stays_inside_and_any_file_system_and_artifact_takes_it(cell: Cell) -> None:
    path = folder(cell)
    assert len(path.parts) == (6 if cell.case is None else 7)
    assert PurePosixPath(os.path.normpath(path)) == path
    assert all(re.fullmatch(r"[A-Za-z0-9._+=,%~-]{1,200}", part) for part in path.parts)
    assert not any(part.startswith(".") for part in path.parts)
