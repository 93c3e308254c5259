# SPDX-License-Identifier: GPL-2.0-only
"""The rates of a run that repeats its cells: in a table, over time, and where variants differ.

Also what a cell that fails now and then is repeated with, and its first failing transcript.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich.text import Text

from kstep.base import temporary
from kstep.base.outcome import Outcome
from kstep.report import command
from kstep.results.printable import printable
from kstep.results.rate import Rate, repeats_to_see, wilson
from kstep.results.request import MOST_REPEATS
from kstep.results.sequential import ALPHA, Evidence, compare
from kstep.results.verdict import order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kstep.results.cell import Cell
    from kstep.results.record import Record
    from kstep.results.setup import Setup

PICTURE, TEXT, FACTS = "rates.svg", "soak.txt", "soak.json"
POINTS = 200  # of a cell's line in the picture, at the most
LEAST = 3  # lines; a shorter table is useless


@dataclass
class Repeated:
    """A cell of which there are repeats; ``outcomes`` has each, in the order of the repeats."""

    cell: Cell
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def rate(self) -> Rate:
        """How often it passed."""
        return Rate.of(self.outcomes.values())

    @property
    def judged(self) -> list[bool]:
        """Whether each repeat with a verdict passed, in order."""
        return [
            self.outcomes[number] is Outcome.PASS
            for number in sorted(self.outcomes)
            if self.outcomes[number] is not Outcome.ERROR
        ]


def repeated(record: Record) -> list[Repeated]:
    """Return the cells of a run, each once with all its repeats."""
    found: dict[tuple[str, ...], Repeated] = {}
    for cell, outcome in record.outcomes():
        key = (cell.column, cell.name)
        found.setdefault(key, Repeated(cell)).outcomes[cell.repeat] = outcome
    return sorted(
        found.values(),
        key=lambda each: (each.cell.setup.parts, each.cell.name, order(each.cell.variant)),
    )


@dataclass(frozen=True)
class Difference:
    """Two variants of one test, and the evidence that their rates differ."""

    one: Repeated
    other: Repeated
    evidence: Evidence

    def __str__(self) -> str:
        names = f"{self.one.cell.variant} and {self.other.cell.variant}"
        pairs = self.evidence.differ_after
        if pairs is None:
            return f"{names}: no difference found in {self.evidence.pairs} pairs of repeats"
        return f"{names} differ: known after {pairs} of {self.evidence.pairs} pairs of repeats"


def differences(cells: Sequence[Repeated]) -> list[Difference]:
    """Compare the variants of each test pair by pair; the error is shared among all pairs."""
    tests: dict[tuple[Setup, str], list[Repeated]] = defaultdict(list)
    for each in cells:
        tests[each.cell.setup, each.cell.name].append(each)
    pairs = [pair for same in tests.values() for pair in itertools.combinations(same, 2)]
    return [
        Difference(one, other, compare(one.judged, other.judged, len(pairs)))
        for one, other in pairs
    ]


def text(record: Record, half_width: float) -> list[str]:
    """Describe the rates of a run, and what is known of each cell that failed."""
    cells = repeated(record)
    lines = ["rate of passes, with its 95 % interval:", *_rows(cells, half_width), ""]
    found = differences(cells)
    if found:
        lines.append(
            f"variants compared repeat by repeat; the probability that any difference named here"
            f" is none is at most {ALPHA:.0%}, however often one looks:"
        )
        lines += [f"  {d.one.cell.setup.name} {d.one.cell.name}: {d}" for d in found]
        lines.append("")
    for each in cells:
        lines += _failure(record, each)
    return lines


def _failure(record: Record, each: Repeated) -> list[str]:
    first = min((n for n, o in each.outcomes.items() if o is Outcome.FAIL), default=None)
    if first is None:
        return []
    cell = replace(each.cell, repeat=first)
    found = record.cell(cell)
    if found is None:
        return []
    path = record.path(found, "console_log")
    said = printable(found.message.partition("\n")[0])
    failing = Rate(each.rate.total - each.rate.passes, each.rate.total)
    often = min(MOST_REPEATS, repeats_to_see(failing))
    return [
        f"{cell.column} {cell.name} failed first in repeat {first}: {found.signature}: {said}",
        f"  transcript: {path or 'not kept'}",
        f"  to repeat it: {command.narrowed(record, cell)} --repeat {often}",
    ]


NAMES = ("tree", "kconfig", "compiler", "suite", "variant", "session", "case")


def _rows(cells: Iterable[Repeated], half_width: float) -> list[str]:
    told = list(cells)
    several = len({each.cell.setup for each in told}) > 1
    rows = [
        (
            f"{each.cell.column if several else each.cell.variant} {each.cell.name}",
            f"{each.rate.passes} of {each.rate.total}",
            _percent(each.rate),
            _state(each, half_width),
        )
        for each in told
    ]
    widths = [max((len(row[n]) for row in rows), default=0) for n in range(3)]
    return [
        f"  {name:{widths[0]}}  {count:>{widths[1]}}  {percent:>{widths[2]}}  {state}".rstrip()
        for name, count, percent, state in rows
    ]


def _percent(rate: Rate) -> str:
    if not rate.total:
        return "no verdict"
    low, high = rate.interval()
    return f"{100 * rate.passes / rate.total:.2f} % ({100 * low:.2f}-{100 * high:.2f})"


def _state(each: Repeated, half_width: float) -> str:
    errors = sum(outcome is Outcome.ERROR for outcome in each.outcomes.values())
    told = (
        ""
        if each.rate.half_width <= half_width
        else f"known to ±{100 * each.rate.half_width:.2f} %"
    )
    return ", ".join(filter(None, (told, f"{errors} without a verdict" if errors else "")))


def rates_so_far(record: Record, half_width: float, width: int, height: int) -> Text:
    """Show the rates, the least known first, in at most ``height`` lines of ``width`` columns."""
    cells = sorted(repeated(record), key=lambda each: -each.rate.half_width)
    if height < LEAST:
        return Text()
    known = sum(each.rate.half_width <= half_width for each in cells)
    differ = sum(each.evidence.differ_after is not None for each in differences(cells))
    head = f"{known} of {len(cells)} rates known to ±{100 * half_width:g} %"
    lines = [Text(head + (f"; {differ} differences" if differ else ""), "dim")]
    lines += [Text(row, no_wrap=True) for row in _rows(cells[: height - 1], half_width)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


# -- the picture


def _points(each: Repeated) -> list[dict[str, Any]]:
    """Return the rate and its interval after so many repeats, thinned out."""
    judged = each.judged
    at = {round(len(judged) ** (n / POINTS)) for n in range(POINTS + 1)} if judged else set()
    passes, points = 0, []
    for count, passed in enumerate(judged, 1):
        passes += passed
        if count in at:
            low, high = wilson(passes, count)
            points.append(
                {
                    "variant": each.cell.variant,
                    "test": f"{each.cell.setup.name} {each.cell.name}",
                    "repeats": count,
                    "rate": passes / count,
                    "low": low,
                    "high": high,
                }
            )
    return points


def picture(record: Record) -> str:
    """Draw the rates of all cells over their repeats, a row for each test, as SVG."""
    import vl_convert  # noqa: PLC0415 -- takes as long to load as all else

    rows = [point for each in repeated(record) for point in _points(each)]
    x = {"field": "repeats", "type": "quantitative", "scale": {"type": "log"}}
    colour = {"field": "variant", "type": "nominal"}
    percent = {"axis": {"format": "%"}, "title": "passes"}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": rows},
        "facet": {"row": {"field": "test", "type": "nominal", "title": None}},
        "spec": {
            "width": 500,
            "height": 120,
            "layer": [
                {
                    "mark": {"type": "area", "opacity": 0.25},
                    "encoding": {
                        "x": x,
                        "y": {"field": "low", "type": "quantitative", **percent},
                        "y2": {"field": "high"},
                        "color": colour,
                    },
                },
                {
                    "mark": "line",
                    "encoding": {
                        "x": x,
                        "y": {"field": "rate", "type": "quantitative", **percent},
                        "color": colour,
                    },
                },
            ],
        },
    }
    return str(vl_convert.vegalite_to_svg(json.dumps(spec)))


def write(record: Record, half_width: float) -> None:
    """Write the picture, the text, and both in numbers, into the run's folder."""
    cells = repeated(record)
    facts = {
        "half_width": half_width,
        "cells": [
            {
                **{name: getattr(each.cell, name) for name in NAMES},
                "passes": each.rate.passes,
                "total": each.rate.total,
                "interval": list(each.rate.interval()),
            }
            for each in cells
        ],
        "differences": [
            {
                "test": each.one.cell.name,
                "variants": [each.one.cell.variant, each.other.cell.variant],
                "pairs": each.evidence.pairs,
                "differ_after": each.evidence.differ_after,
                "evidence": each.evidence.value,
                "needed": each.evidence.needed,
            }
            for each in differences(cells)
        ],
    }
    for name, content in (
        (TEXT, "\n".join(text(record, half_width)) + "\n"),
        (FACTS, json.dumps(facts, indent=1) + "\n"),
        (PICTURE, picture(record)),
    ):
        temporary.replace(record.folder / name, content)
