# SPDX-License-Identifier: GPL-2.0-only
"""Where report.html shows a cell: the fragment of its address, which any report can write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.results.layout import cell_folder

if TYPE_CHECKING:
    from kstep.results.cell import Cell


def anchor(cell: Cell) -> str:
    """Return the fragment: the folder of the cell's files, without the repeat.

    All repeats of a cell share it, and no other cell does. It has no character that an address
    would have to escape but ``%``, which a browser compares as it stands.
    """
    return str(cell_folder(cell).parent)
