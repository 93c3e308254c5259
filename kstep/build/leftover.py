# SPDX-License-Identifier: GPL-2.0-only
"""Harmful files that a build may leave behind: a patch under review can make it run any program.

A program on the host that reads the objects would follow a link to elsewhere, and a set-uid
program would give everybody on the host the rights of its owner.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def harmful(folder: Path, inside: Mapping[Path, Path], files: Iterable[str]) -> str | None:
    """Name the first harmful file below ``folder``, and why it is; None if there is none.

    A link may lead to the folders in ``inside``, under the build's name (key) or the real one
    (value). ``files``, relative to the folder, must not be links.
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
        if _loops(path):
            return "a link that leads nowhere"
        to = path.resolve()
        if is_output or not any(to.is_relative_to(home) for home in homes):
            return f"a link to {path.readlink()}"
    elif stat.S_ISREG(mode):
        if mode & (stat.S_ISUID | stat.S_ISGID):
            return "a program with the rights of its owner"
    elif not stat.S_ISDIR(mode):
        return "neither a file nor a folder"
    return None


def _loops(link: Path) -> bool:
    """Whether a link leads round in a circle; Python 3.13's resolve() does not raise for that."""
    try:
        link.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False
