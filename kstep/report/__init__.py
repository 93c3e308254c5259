# SPDX-License-Identifier: GPL-2.0-only
"""Reports, each drawn from a run's record alone, so that any old run can be drawn again.

- what they share: grid (the cells, tests down and variants across), area (what a session is
  about), effect (what a variant fixes and breaks, with its figure, the number that tells), story
  (a cell and a run in words), command (how to repeat them), picture (steps), anchor (where
  report.html shows a cell)
- for people: table (the terminal; live: while a run goes on), page (report.html, from its
  outline), summary (Markdown for a web page), reply (a mail), compare and compare_page (two runs)
- for machines: junit, ktap, kcidb; annotation (GitHub's, at a session's file and line)
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
