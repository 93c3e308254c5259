# SPDX-License-Identifier: GPL-2.0-only
"""What a run's records cost: one more cell, and all reports."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kstep import report
from kstep.base import temporary
from kstep.base.outcome import Outcome
from kstep.results.cell import BASE, Cell, CellRecord
from kstep.results.provenance import RunRecord, ToolchainRecord
from kstep.results.record import SHARE, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SESSIONS = 30
FURTHER = 20  # cells that are added to a run to see what one costs; fewer than make it written
WRITES = 5  # times that results.json is written


def further_cell(counts: Sequence[int]) -> dict[int, float]:
    """Return the seconds that it takes to record one more cell in runs of so many cells.

    That is a line of the journal, and the cell's share of writing results.json, which is done
    when the run has grown by a quarter. The runs take turns, and the least of each counts, because
    other programs use the disk too.
    """
    with temporary.folder() as folder:
        runs = {count: _run(Path(folder) / str(count), count) for count in counts}
        adding: dict[int, list[float]] = {count: [] for count in counts}
        writing: dict[int, list[float]] = {count: [] for count in counts}
        for turn in range(FURTHER):
            for count, record in runs.items():
                further = _cell(count + turn + 1)
                adding[count].append(_seconds(partial(record.add, further)))
        for _ in range(WRITES):
            for count, record in runs.items():
                writing[count].append(_seconds(record.write))
    return {count: min(adding[count]) + min(writing[count]) / (count // SHARE) for count in counts}


def _seconds(done: Callable[[], None]) -> float:
    began = time.perf_counter()
    done()
    return time.perf_counter() - began


def reports(count: int) -> float:
    """Return the seconds that it takes to draw all reports of a run of ``count`` cells."""
    with temporary.folder() as folder:
        record = _run(Path(folder), count)
        began = time.perf_counter()
        report.write(record)
        return time.perf_counter() - began


def _run(folder: Path, count: int) -> Record:
    folder.mkdir(exist_ok=True)
    return Record(
        folder,
        RunRecord("", "", 0.0, (), "", {}),
        ToolchainRecord("host", None, "", "", ""),
        cells=map(_cell, range(1, count + 1)),
    )


def _cell(number: int) -> CellRecord:
    return CellRecord(
        Cell("debian:6.1", "base", BASE, f"session-{number % SESSIONS}", "case", number),
        Outcome.PASS,
        None,
        None,
        "",
        seconds=1.5,
        boot_seconds=2.0,
        metrics={"steps": 300, "in_order": 300, "off_order": 0, "steps_per_second": 700.5},
        files={"console_log": "cells/a/console.log", "trace": "cells/a/trace.jsonl"},
    )
