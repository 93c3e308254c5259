# SPDX-License-Identifier: GPL-2.0-only
"""Files compared with what is recorded of them: the hash, and whose they are."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def sha256(path: Path) -> str:
    """Return the hash of a file's content as it is now."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def foreign(path: Path, kind: int = stat.S_IFREG) -> str | None:
    """Return why a file must not be used, whatever is in it; None if it may be.

    It must be a file itself (or the ``kind`` of stat.S_IFMT()), no link, and belong to this user
    or to root: anybody else could change it between a look at it and its use.
    """
    try:
        status = path.lstat()
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    if stat.S_ISLNK(status.st_mode):
        return f"{path.name} is a symbolic link"
    if stat.S_IFMT(status.st_mode) != kind:
        return f"{path.name} is something else"
    if status.st_uid not in {0, os.geteuid()}:
        return f"{path.name} belongs to another user"
    return None


def differs(path: Path, recorded: str) -> str | None:
    """Return that a file has not the recorded hash; None if it has.

    Its content is read once a process, and again only if the file was replaced or written to.
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
