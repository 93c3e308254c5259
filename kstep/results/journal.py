# SPDX-License-Identifier: GPL-2.0-only
"""``cells.jsonl`` of a run: the result of each cell, one line each, appended as it comes.

It is authoritative: ``results.json`` is derived from it now and then. If a cell is in it twice,
the later line counts.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kstep.base.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "cells.jsonl"


class Journal:
    """The file that is appended to; the first line creates it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._whole = False  # whether it surely ends with a whole line

    def append(self, line: str) -> None:
        """Append a line and sync it to the disk: it survives kstep, and a power cut too.

        Raises MachineryError if it cannot be written; the file is then unchanged.
        """
        try:
            self._append(line.encode() + b"\n")
        except OSError as error:
            raise MachineryError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _append(self, data: bytes) -> None:
        new = not self._path.exists()
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if not self._whole:
                _cut_torn_line(descriptor)
                self._whole = True
            size = os.fstat(descriptor).st_size
            try:
                left = data
                while left:
                    left = left[os.write(descriptor, left) :]
                os.fdatasync(descriptor)
            except BaseException:
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if new:
            _sync_folder(self._path.parent)


def read(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read the lines of a run's journal, each with its number from 1; nothing if there is no file.

    A torn last line is dropped: it was being written when the power was cut, or is being
    written now. Raises RequestError for any other line that is not a JSON object.
    """
    path = folder / FILE
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RequestError(f"cannot be read: {error.strerror}", path) from error
    for number, line in enumerate(lines[:-1], 1):
        item = _object(line)
        if item is not None:
            yield number, item
        elif number < len(lines) - 1:
            raise RequestError("not a cell's result; remove the line", path, number)


def _cut_torn_line(descriptor: int) -> None:
    """Remove what follows the last whole line, so that the next one starts a new line."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    whole = data.rfind(b"\n") + 1
    last = data[data.rfind(b"\n", 0, whole - 1) + 1 : whole] if whole else b""
    if last and _object(last) is None:
        whole -= len(last)  # a power cut may keep the line's end, but not its middle
    if whole < len(data):
        os.ftruncate(descriptor, whole)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return item if isinstance(item, dict) else None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
