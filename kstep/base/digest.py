# SPDX-License-Identifier: GPL-2.0-only
"""Checks files against their recorded hash, and their owner."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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


def damage(
    folder: Path,
    record: str,
    files: Mapping[str, str],
    is_record: Callable[[dict[str, Any]], bool],
    what: str,
) -> str | None:
    """Return why a cached folder must not be used; None if it is undamaged.

    ``record`` is its file of JSON that is valid if ``is_record``; ``files`` are the names of its
    other files, by the key that has their hash, which an older record may lack. ``what`` is what
    the folder holds.
    """
    if reason := foreign(folder, stat.S_IFDIR):
        return reason
    for name in dict.fromkeys((record, *files.values())):
        if reason := foreign(folder / name):
            return reason
    try:
        facts = json.loads((folder / record).read_bytes())
    except ValueError:
        return f"{record} is not JSON"
    if not isinstance(facts, dict) or not is_record(facts):
        return f"{record} is not the record of this {what}"
    for key, name in files.items():
        if key in facts and (reason := differs(folder / name, facts[key])):
            return reason
    return None


def is_strings(record: type) -> Callable[[dict[str, Any]], bool]:
    """Return whether facts are strings for each field of a dataclass but its first, a path."""
    _, *names = [field.name for field in fields(record)]
    return lambda facts: (
        facts.keys() == {*names} and all(isinstance(value, str) for value in facts.values())
    )
