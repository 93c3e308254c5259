# SPDX-License-Identifier: GPL-2.0-only
"""What is drawn from a record, and from nothing else, so that any old run can be drawn again.

- grid: the cells, sessions down and variants across, as every form shows them; story: what
  they came to, in words; command: how to repeat them; trace and picture: their steps
- for people: table (the terminal), page (report.html), summary (a web page's Markdown),
  reply (a mail), compare (two runs)
- for machines: junit, ktap, kcidb
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.report import junit, kcidb, ktap, page, reply, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kstep.results.record import Record

FILES: Mapping[str, Callable[[Record], str]] = {
    "junit.xml": junit.junit,
    "report.html": page.page,
    "summary.md": summary.summary,
    "reply.txt": reply.reply,
    "results.ktap": ktap.ktap,
    "kcidb.json": kcidb.kcidb,
}


def write(record: Record) -> None:
    """Draw every file of a run, in its folder."""
    for name, draw in FILES.items():
        part = record.folder / f"{name}.part"
        try:
            part.write_text(draw(record), "utf-8")
            part.replace(record.folder / name)
        finally:
            part.unlink(missing_ok=True)
