# SPDX-License-Identifier: GPL-2.0-only
"""What a run's records cost: one more cell, and all reports."""

from __future__ import annotations

import time
from pathlib import Path

from kstep import report
from kstep.base import temporary
from kstep.base.outcome import Outcome
from kstep.results.cell import BASE, Cell, CellRecord
from kstep.results.provenance import RunRecord, ToolchainRecord
from kstep.results.record import SHARE, Record

SESSIONS = 30
FURTHER = 20  # cells that are added to a run to see what one costs


def further_cell(count: int) -> float:
    """Return the seconds that it takes to record one more cell in a run that has ``count``.

    That is a line of the journal, and the cell's share of writing results.json, which is done
    when the run has grown by a quarter.
    """
    with temporary.folder() as folder:
        record = _run(Path(folder), count)
        began = time.perf_counter()
        record.write()
        share = (time.perf_counter() - began) / (count // SHARE)
        seconds = []
        for number in range(1, count // SHARE)[:FURTHER]:
            further = _cell(count + number)
            began = time.perf_counter()
            record.add(further)
            seconds.append(time.perf_counter() - began)
    return min(seconds) + share  # the least, because other programs use the disk too


def reports(count: int) -> float:
    """Return the seconds that it takes to draw all reports of a run of ``count`` cells."""
    with temporary.folder() as folder:
        record = _run(Path(folder), count)
        began = time.perf_counter()
        report.write(record)
        return time.perf_counter() - began


def _run(folder: Path, count: int) -> Record:
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
