# SPDX-License-Identifier: GPL-2.0-only
"""GitHub annotations of unexpected results, at a session's file and line."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from kstep.report import story
from kstep.results.printable import printable

if TYPE_CHECKING:
    from kstep.results.cell import CellRecord
    from kstep.results.record import Record

MOST = 10  # annotations that GitHub shows per step


def annotate(record: Record) -> list[str]:
    """Return a workflow command for each session and fault, over all cells with it.

    A run as expected has none. The last one counts those that GitHub would not show.
    """
    alike: dict[tuple[str, str, str], list[CellRecord]] = defaultdict(list)
    for each in record.cells:
        if not each.matched:
            alike[each.cell.session, each.seen, each.wanted].append(each)
    lines = [_line(record, group) for group in alike.values()]
    if len(lines) <= MOST:
        return lines
    left = len(lines) - MOST + 1
    return [*lines[: MOST - 1], f"::error::and {left} more: see report.html"]


def _line(record: Record, group: list[CellRecord]) -> str:
    first = group[0]
    session = record.sessions.get(first.cell.session)
    file = session.file if session else first.files.get("session", "")
    fields = {
        "file": file,
        "line": str(session.line) if session else "",
        "title": f"{first.cell.session}: {story.surprise(first)}",
    }
    written = ",".join(f"{key}={_property(value)}" for key, value in fields.items() if value)
    where = f"{first.cell.column} {first.cell.name}"
    others = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return f"::error {written}::{_data(f'{where}{others}: {first.message or first.seen}')}"


def _data(text: str) -> str:
    """Escape a message as actions/toolkit does, on one line."""
    return " ".join(printable(text).split()).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
