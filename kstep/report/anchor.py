# SPDX-License-Identifier: GPL-2.0-only
"""The fragment of a cell's address in report.html, for links from any report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.results.layout import cell_folder

if TYPE_CHECKING:
    from kstep.results.cell import Cell


def anchor(cell: Cell) -> str:
    """Return the fragment: the folder of the cell's files, without the repeat.

    All repeats of a cell share it, and no other cell does. ``%`` is the only character in it that
    an address would have to escape, and a browser compares it unchanged.
    """
    return str(cell_folder(cell).parent)
