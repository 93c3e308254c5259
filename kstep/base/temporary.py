# SPDX-License-Identifier: GPL-2.0-only
"""Temporary files and folders, each named after the process that it belongs to.

So what a killed process left can be distinguished from what a living one needs, and removed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import owner

if TYPE_CHECKING:
    from collections.abc import Iterable

# A leading dot hides those beside permanent files.
NAME = re.compile(r"\.?kstep-(?P<owner>[0-9a-f]+-[0-9a-f]+-[0-9a-f]+)-.*")

# Files in memory: what is on a disk is written to it, however short its life.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 -- only with prefix()


def folders() -> list[Path]:
    """Return the folders that have such files, beside those of permanent ones."""
    return [Path(tempfile.gettempdir()), IN_MEMORY]


def prefix() -> str:
    """Return the prefix of the names of this process's temporary files and folders."""
    return f"kstep-{owner.name()}-"


def folder(above: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """Create a folder that is removed when the block ends; in ``above`` it is hidden."""
    if above is None:
        return tempfile.TemporaryDirectory(prefix=prefix())
    return tempfile.TemporaryDirectory(prefix=f".{prefix()}", dir=above)


def replace(path: Path, text: str | Iterable[str], *, synced: bool = False) -> None:
    """Write a file atomically: it is complete at every moment, first the old one, then the new.

    ``text`` may be in pieces. ``synced``: also after a power cut. Raises OSError, and then keeps
    the old file.
    """
    part = path.with_name(f".{prefix()}{path.name}")
    try:
        with part.open("w", encoding="utf-8") as stream:
            stream.writelines([text] if isinstance(text, str) else text)
            if synced:
                stream.flush()
                os.fsync(stream.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def sweep(folders: Iterable[Path]) -> None:
    """Remove what processes that are gone left in folders; a missing folder is ignored."""
    for above in folders:
        with suppress(OSError):
            for path in above.iterdir():
                match = NAME.fullmatch(path.name)
                if match is not None and owner.is_gone(match["owner"]):
                    _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # it is being removed, or belongs to another user
            path.unlink()
