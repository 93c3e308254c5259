# SPDX-License-Identifier: GPL-2.0-only
"""``console.log`` of a cell: every byte of its serial line, both directions, with times."""

from __future__ import annotations

import os
import re
import time
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING

from kstep.results.printable import printable

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_TAIL_BYTES = 64 * 1024  # far more than the lines that a report shows


class Transcript(AbstractContextManager["Transcript"]):
    """Every byte of a serial line, with its direction and time: one record per line of text.

    A record is ``<seconds> < "text"`` for what was received and ``>`` for what was sent, cut
    at line ends and at changes of direction, with control characters escaped. Its time is
    that of its first byte, in seconds from ``began``.
    """

    def __init__(self, path: Path, began: float) -> None:
        # Line-buffered: what a killed process has received is in the file.
        self._stream: IO[str] = path.open("w", buffering=1, encoding="ascii")
        self._began = began
        self._direction = ""
        self._piece = b""
        self._time = 0.0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        self._stream.close()

    def add(self, direction: str, data: bytes) -> None:
        """Add the next bytes; a UART delivers them one by one."""
        if direction != self._direction:
            self._flush()
            self._direction = direction
        if not self._piece:
            self._time = time.monotonic() - self._began
        self._piece += data
        if b"\n" in data:
            *lines, rest = self._piece.splitlines(keepends=True)
            if rest.endswith(b"\n"):
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._write(line)
            self._piece = rest

    def _flush(self) -> None:
        if self._piece:
            self._write(self._piece)
            self._piece = b""

    def _write(self, line: bytes) -> None:
        text = line.decode("latin-1").encode("unicode_escape").decode("ascii")
        quoted = text.replace('"', '\\"')
        self._stream.write(f'{self._time:.6f} {self._direction} "{quoted}"\n')


def tail(path: Path, lines: int) -> list[str]:
    """Read the last lines of a transcript, printable; nothing if it cannot be read.

    What was sent is on a line of its own, after ``> ``.
    """
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - _TAIL_BYTES))
            records = log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    whole = records[1:] if size > _TAIL_BYTES else records
    text = _TERMINAL.sub("", "".join(map(_console_text, whole)))
    text = _LINE_END.sub("\n", text).strip("\n")
    return [printable(line).rstrip() for line in text.split("\n")[-lines:]] if text else []


_CONSOLE_RECORD = re.compile(r'\s*[\d.]+\s+([<>])\s+"(.*)"\s*')
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))")
_NAMED = {"n": "\n", "r": "\r", "t": "\t", "e": "\x1b", "a": "\a", "b": "\b", "0": "\0"}
_LINE_END = re.compile(r"\r+\n?")  # a tty may add a second carriage return
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours, cursor


def _console_text(line: str) -> str:
    """Decode a record of a transcript; any other line is unchanged."""
    found = _CONSOLE_RECORD.fullmatch(line)
    if found is None:
        return f"{line}\n"
    text = _ESCAPE.sub(_unescaped, found[2])
    return text if found[1] == "<" else f"\n> {text.strip()}\n"


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _NAMED.get(match[3], match[3])
