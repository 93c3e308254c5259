# SPDX-License-Identifier: GPL-2.0-only
"""A made-up kernel behind line editors: the terminal's own while it runs, kdb's while it is stopped.

So it hears one key after another, echoes each, and takes a line when Enter comes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.farend import MadeUp

CAREFUL = re.compile(
    r'(?:(?P<command>.*); k=\$\?; )?(?P<says>echo KSTEP"-END" (?P<number>\d+) \$k); (?P=says) '
)
END = re.compile(rb"KSTEP-END \d+ \d+\r\n")
RUBOUT, REPRINT, BACKSPACE, DOWN = b"\x7f", b"\x12", b"\b", b"\x0e"


@dataclass
class Terminal:
    """Plays a kernel, key by key; ``entered`` are the lines that took effect."""

    kernel: MadeUp

    def __post_init__(self) -> None:
        self._line = b""
        self._last_end = b""
        self._last = b""
        self.entered: list[bytes] = []

    def hear(self, typed: bytes) -> bytes:
        """Take what was typed, and return what is printed."""
        return b"".join(self._key(typed[n : n + 1]) for n in range(len(typed)))

    def _key(self, key: bytes) -> bytes:
        if self.kernel.pages:
            return self.kernel.hear(key)
        return self._kdb(key) if self.kernel.stopped else self._tty(key)

    def _kdb(self, key: bytes) -> bytes:
        prompt = self.kernel.prompt().encode()
        if key == b"\r":
            return b"\r\n" + self._enter(b"\r")
        if key == BACKSPACE and self._line:
            self._line = self._line[:-1]
            return b"\b \r" + prompt + self._line
        if key == DOWN:
            return b"\r%b\r" % (b" " * len(prompt + self._line)) + prompt + self._line
        if key < b" ":
            return b""
        self._line += key
        return key

    def _tty(self, key: bytes) -> bytes:
        if key in (b"\r", b"\n"):
            return b"\r\n" + self._enter(b"\n")
        if key == RUBOUT:
            erased, self._line = self._line[-1:], self._line[:-1]
            return b"\b \b" * len(erased)
        if key == REPRINT:
            return b"^R\r\n" + self._line
        if key == b"\x03":
            self._line = b""
            return b"^C\r\n"
        self._line += key
        return b"^%c" % (key[0] ^ 64) if key < b" " else key

    def _enter(self, end: bytes) -> bytes:
        line, self._line = self._line, b""
        self.entered.append(line)
        if end == b"\n" and not line.strip():
            return b""  # Enter, twice
        if end == b"\r" and not line:  # kdb_parse() in kdb_main.c: `ss` is done again
            if self._last != b"ss":
                return self.kernel.prompt().encode()
            line = self._last
        self._last = line.rstrip(b" ")
        if end == b"\r":
            said = self.kernel.hear(line.rstrip(b" ").decode("latin-1").encode() + end)
        else:
            match = CAREFUL.fullmatch(line.decode("latin-1").rstrip(" ") + " ")
            if match is None:  # a byte became Enter
                return b"sh: syntax error\r\n"
            if match["command"] is None:
                return self._last_end * 2
            self._last_end = b""
            typed = f'{match["command"]}; echo KSTEP"-END" {match["number"]} $?\n'
            said = self.kernel.hear(typed.encode())
        said = said.partition(b"\r\n")[2]  # its echo of the line
        if found := END.search(said):
            self._last_end = found[0]
        return END.sub(lambda match: match[0] * 2, said)
