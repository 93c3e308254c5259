# SPDX-License-Identifier: GPL-2.0-only
"""Repeats cells until the rate of each is known: which ones next, and when it is enough."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kstep.base.errors import RequestError
from kstep.base.outcome import Outcome
from kstep.results.rate import wilson
from kstep.results.request import MOST_REPEATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kstep.results.cell import Cell
    from kstep.results.record import Record

ROUND = 10  # the repeats of a round are a tenth of those before it
NARROWEST, WIDEST = 0.0005, 0.5  # of the half width of an interval from 0 to 1
FIRST = 4  # repeats of each cell in the first round, before anything is known of it


@dataclass
class _Tally:
    """The repeats of a cell: those with a verdict, those that passed, all of them."""

    judged: int = 0
    passes: int = 0
    tried: int = 0

    def half_width(self, more: int = 0) -> float:
        """Half of the interval that ``more`` repeats would leave, if they come out as before."""
        total = self.judged + more
        share = self.passes / self.judged if self.judged else 0.5
        low, high = wilson(share * total, total)
        return (high - low) / 2


class Soak:
    """Repeats each cell until its rate is known to ``half_width``, or ``most`` were run.

    ``half_width`` is that of the 95 % interval, from 0 to 0.5. Raises RequestError for a value
    that it cannot have.
    """

    def __init__(self, half_width: float, most: int, at_once: int) -> None:
        if not NARROWEST <= half_width < WIDEST:
            raise RequestError(
                f"--until-half-width {half_width:g}: must be at least {NARROWEST} and below"
                f" {WIDEST}"
            )
        if not 1 <= most <= MOST_REPEATS:
            raise RequestError(f"--most {most}: must be between 1 and {MOST_REPEATS}")
        self.half_width, self.most, self.at_once = half_width, most, at_once

    def rounds(self, record: Record, cells: Sequence[Cell]) -> Iterator[list[Cell]]:
        """Plan round after round, each by what the record has then.

        ``cells`` are those to repeat, each once. Repeats that were under way when a run was
        interrupted have no result, and no later one takes their number.
        """
        while True:
            tallies = self._tallies(record, cells)
            planned = self._plan(tallies)
            if not planned:
                return
            yield planned

    def _tallies(self, record: Record, cells: Iterable[Cell]) -> dict[Cell, _Tally]:
        tallies = {replace(cell, repeat=1): _Tally() for cell in cells}
        for cell, outcome in record.outcomes():
            tally = tallies.get(replace(cell, repeat=1))
            if tally is not None:
                tally.tried = max(tally.tried, cell.repeat)
                tally.judged += outcome is not Outcome.ERROR
                tally.passes += outcome is Outcome.PASS
        return tallies

    def _plan(self, tallies: dict[Cell, _Tally]) -> list[Cell]:
        """Give the repeats of a round, one by one, to the cell that is known the least by then."""
        done = sum(each.tried for each in tallies.values())
        room = max(2 * self.at_once, done // ROUND, 0 if done else FIRST * len(tallies))
        more: Counter[Cell] = Counter()
        heap = [
            (-tally.half_width(), number, cell)
            for number, (cell, tally) in enumerate(tallies.items())
            if self._wants(tally, 0)
        ]
        heapq.heapify(heap)
        while heap and room:
            _, number, cell = heapq.heappop(heap)
            more[cell] += 1
            room -= 1
            tally = tallies[cell]
            if self._wants(tally, more[cell]):
                heapq.heappush(heap, (-tally.half_width(more[cell]), number, cell))
        return [
            replace(cell, repeat=tallies[cell].tried + repeat)
            for cell in tallies
            for repeat in range(1, more[cell] + 1)
        ]

    def _wants(self, tally: _Tally, more: int) -> bool:
        return tally.tried + more < self.most and tally.half_width(more) > self.half_width
