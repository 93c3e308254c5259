# SPDX-License-Identifier: GPL-2.0-only
"""A page that compares two runs: differences first, with links into both reports."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from kstep.report.anchor import anchor
from kstep.report.page import environment, style

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.report.compare import Comparison
    from kstep.results.record import Record

FEW = 40  # tests of a kind; more are folded


def compare_page(before: Record, after: Record, found: Comparison, folder: Path) -> str:
    """Return the result of ``compare`` as a page for ``folder``, to write in UTF-8."""
    template = environment().get_template("compare.html.j2")
    return template.render(
        runs=[(run, _report(run, folder)) for run in (before, after)],
        found=found,
        anchor=anchor,
        few=FEW,
        style=style(),
    )


def _report(run: Record, folder: Path) -> str:
    """Return the address of a run's report relative to ``folder``; empty if it has none."""
    path = run.folder.resolve() / "report.html"
    if not path.is_file():
        return ""
    return quote(os.path.relpath(path, folder.resolve()), safe="/=,+~")
