# SPDX-License-Identifier: GPL-2.0-only
"""A history that looks like Linux."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.source.tree import LINUX
from tests.unit.source.test_series import git

if TYPE_CHECKING:
    from pathlib import Path


def a_history(work: Path) -> Path:
    """Make three commits, v1 to v3, and one beside them, called other."""
    for name in LINUX:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("VERSION = 6\n")
    git(work, "init", "--quiet")
    for number in (1, 2, 3):
        (work / f"file{number}").write_text("x\n")
        git(work, "add", "--all")
        git(work, "commit", "--quiet", f"--message=change {number}")
        git(work, "tag", f"v{number}")
    git(work, "checkout", "--quiet", "-b", "other", "v1")
    git(work, "commit", "--quiet", "--allow-empty", "--message=other")
    git(work, "checkout", "--quiet", "--detach", "v3")
    return work
