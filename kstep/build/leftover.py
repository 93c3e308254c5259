# SPDX-License-Identifier: GPL-2.0-only
"""What a build must not leave behind: a patch under review has it run programs of its own.

Whoever reads the objects on this machine would follow a link to elsewhere, and a set-uid
program would have the rights of its owner for everybody here.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def harmful(folder: Path, inside: Mapping[Path, Path], files: Iterable[str]) -> str | None:
    """Name the first thing below ``folder`` that is harmful, and why; None if nothing is.

    A link may lead to what is ``inside``: folders as the build had them, and where they are.
    ``files``, relative to the folder, must be no links.
    """
    homes = [each.resolve() for pair in inside.items() for each in pair]
    outputs = {folder / name for name in files}
    for where, folders, names in os.walk(folder):
        for path in (Path(where, name) for name in (*folders, *names)):
            if reason := _reason(path, homes, is_output=path in outputs):
                return printable(f"{path.relative_to(folder)}, {reason}")
    return None


def _reason(path: Path, homes: Iterable[Path], *, is_output: bool) -> str | None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        try:
            to = path.resolve()
        except (OSError, RuntimeError):  # it leads to itself
            return "a link that leads nowhere"
        if is_output or not any(to.is_relative_to(home) for home in homes):
            return f"a link to {path.readlink()}"
    elif stat.S_ISREG(mode):
        if mode & (stat.S_ISUID | stat.S_ISGID):
            return "a program with the rights of its owner"
    elif not stat.S_ISDIR(mode):
        return "which is neither file nor folder"
    return None
