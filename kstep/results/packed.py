# SPDX-License-Identifier: GPL-2.0-only
"""The cells of a run in little memory: some hundred bytes each, of the two thousand they have.

A run may have tens of thousands, which differ in a few numbers. Each is kept as the JSON of
results.json, compressed with the first one as its dictionary.
"""

from __future__ import annotations

import json
import sys
import zlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from kstep.base.outcome import Outcome
from kstep.results.cell import Cell, CellRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTCOMES = tuple(Outcome)
LEVEL = 6


class Packed:
    """Records by their cell, in the order in which the cells were first put."""

    def __init__(self) -> None:
        self._kept: dict[Cell, bytes] = {}  # the outcome's number, then the compressed line
        self._like = b""

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, record: CellRecord) -> None:
        """Keep a record; it replaces one of the same cell.

        Raises ValueError or TypeError if JSON cannot hold its metrics.
        """
        line = json.dumps(record.to_json(), allow_nan=False).encode()
        self._like = self._like or line
        pack = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=self._like)
        packed = pack.compress(line) + pack.flush()
        self._kept[_shared(record.cell)] = bytes([OUTCOMES.index(record.outcome)]) + packed

    def get(self, cell: Cell) -> CellRecord | None:
        """Return the record of a cell."""
        kept = self._kept.get(cell)
        return None if kept is None else _record(self._line(kept))

    def lines(self) -> Iterator[str]:
        """The JSON of each."""
        return map(self._line, self._kept.values())

    def values(self) -> Iterator[CellRecord]:
        """Each, made anew."""
        return map(_record, self.lines())

    def outcomes(self) -> Iterator[tuple[Cell, Outcome]]:
        """The outcome of each, which costs little."""
        return ((cell, OUTCOMES[kept[0]]) for cell, kept in self._kept.items())

    def _line(self, kept: bytes) -> str:
        unpack = zlib.decompressobj(-zlib.MAX_WBITS, zdict=self._like)
        return unpack.decompress(kept[1:]).decode()


def _record(line: str) -> CellRecord:
    return CellRecord.from_json(json.loads(line))


def _shared(cell: Cell) -> Cell:
    """Return an equal cell, whose names are the same objects as those of others."""
    names: dict[str, Any] = {
        each.name: sys.intern(value) if isinstance(value, str) else value
        for each in fields(cell)
        for value in [getattr(cell, each.name)]
    }
    return Cell(**names)
