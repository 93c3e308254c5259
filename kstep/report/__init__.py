# SPDX-License-Identifier: GPL-2.0-only
"""Reports, each made only from a run's record, so that reports of old runs can be made again.

- shared: grid (the cells, tests down and variants across), area (the subject of a session),
  effect (what a variant fixes and breaks), figure (that in numbers), story (a cell and a run in
  words), command (how to repeat them), picture (steps), curve (a rate
  against the time of a step), anchor (a cell's address in report.html)
- for people: table (the terminal; live: while a run goes on), page (report.html, from its
  outline), summary (Markdown for a web page), reply and cover (mails), compare and compare_page
  (two runs)
- for machines: junit, ktap, kcidb; annotation (GitHub's, at a session's file and line)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.report import cover, junit, kcidb, ktap, page, reply, summary

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


LETTER = "cover-letter.txt"  # only of a series that is to be sent


def write(record: Record) -> None:
    """Write every report of a run into its folder."""
    with record.at_hand():
        for name, draw in FILES.items():
            temporary.replace(record.folder / name, draw(record))
        if letter := cover.cover(record):
            temporary.replace(record.folder / LETTER, letter)
