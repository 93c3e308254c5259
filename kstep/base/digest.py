# SPDX-License-Identifier: GPL-2.0-only
"""Checks files against their recorded hash, and their owner."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def sha256(path: Path) -> str:
    """Return the hash of a file's current content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def foreign(path: Path, kind: int = stat.S_IFREG) -> str | None:
    """Return why a file must not be used, whatever its content; None if it may be.

    It must be a file (or the ``kind`` of stat.S_IFMT()), not a link, and belong to this user or
    to root: any other owner could change it between the check and the use.
    """
    try:
        status = path.lstat()
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    if stat.S_ISLNK(status.st_mode):
        return f"{path.name} is a symbolic link"
    if stat.S_IFMT(status.st_mode) != kind:
        return f"{path.name} has the wrong type"
    if status.st_uid not in {0, os.geteuid()}:
        return f"{path.name} belongs to another user"
    return None


def differs(path: Path, recorded: str) -> str | None:
    """Return a message if a file does not have the recorded hash; None if it has.

    Its content is read once per process, and again only if the file was replaced or written.
    """
    try:
        status = path.stat()
        found = _once(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    return None if found == recorded else f"{path.name} differs from its recorded hash"


@functools.cache
def _once(path: Path, _inode: int, _size: int, _time: int) -> str:
    return sha256(path)
