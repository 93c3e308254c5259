# SPDX-License-Identifier: GPL-2.0-only
"""Diffs, read and applied by git apply."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.source.git import Git

if TYPE_CHECKING:
    from collections.abc import Sequence
    from subprocess import CompletedProcess

REFUSED_HUNK = re.compile(
    r"^error: while searching for:\n(?P<hunk>.*?)\nerror: patch failed: (?P<line>.+:\d+)$",
    re.MULTILINE | re.DOTALL,
)


def apply(options: Sequence[str], diff: bytes, folder: Path = Path("/")) -> CompletedProcess[bytes]:
    """Run git apply on ``diff`` in ``folder``, inside a checkout or not."""
    command = ("apply", "--whitespace=nowarn", *options, "-")
    return Git.without_repository(folder).run(*command, given=diff)


def refusal(result: CompletedProcess[bytes]) -> str:
    """Say in one line why git apply failed: the hunk that it did not find, or its message."""
    said = result.stderr.decode(errors="replace")
    if refused := REFUSED_HUNK.search(said):
        lines = [line.strip() for line in refused["hunk"].splitlines() if line.strip()]
        return f"at {refused['line']} there is no '{' / '.join(lines[:3])[:120]}'"
    words = [
        line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error: ")
    ]
    return (words or ["git apply failed"])[0].replace("No such file or directory", "no such file")
