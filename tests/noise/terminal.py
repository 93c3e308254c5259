# SPDX-License-Identifier: GPL-2.0-only
"""A made-up kernel behind line editors: the terminal's while it runs, kdb's while it is stopped.

So it hears one key after another, echoes each, and takes a line when Enter comes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.unit.farend import Edited

if TYPE_CHECKING:
    from tests.unit.farend import MadeUp

CAREFUL = re.compile(
    r"(?:(?P<command>.*); k(?P<kept>\d+)=\$\?; )?"
    r'(?P<says>echo KSTEP"-END" (?P<number>\d+) \$k(?P=number)); (?P=says) '
)
END = re.compile(rb"KSTEP-END (?P<number>\d+) \d+\r\n")


@dataclass
class Terminal:
    """Plays a kernel, key by key."""

    kernel: MadeUp

    def __post_init__(self) -> None:
        kernel = self.kernel
        self._edited = Edited(
            self._enter, lambda: kernel.prompt().encode() if kernel.stopped else None
        )
        self._ends: dict[bytes, bytes] = {}  # by the number of the command
        self._runs: bytes | None = None  # the number of the command that the shell waits for
        self._queued: list[bytes] = []  # lines that the terminal keeps until the shell reads
        self._last = b""

    def hear(self, typed: bytes) -> bytes:
        """Take what was typed, and return what is printed."""
        said = b""
        for key in (typed[n : n + 1] for n in range(len(typed))):
            said += (self.kernel if self.kernel.pages else self._edited).hear(key)
        return said

    def _enter(self, line: bytes) -> bytes:
        if self._runs is not None and not self.kernel.stopped:
            self._queued.append(line)
            return b""
        said = self._kdb(line.rstrip(b" ")) if self.kernel.stopped else self._shell(line)
        said = said.partition(b"\r\n")[2]  # its echo of the line
        if found := END.search(said):
            self._ends[found["number"]] = found[0]
            self._runs = None
        said = END.sub(lambda match: match[0] * 2, said)
        while self._queued and self._runs is None:
            said += self._enter(self._queued.pop(0))
        return said

    def _kdb(self, line: bytes) -> bytes:
        if not line:  # kdb_parse() in kdb_main.c: `ss` is done again
            if self._last != b"ss":
                return b"\r\n" + self.kernel.prompt().encode()
            line = self._last
        self._last = line
        return self.kernel.hear(line.decode("latin-1").encode() + b"\r")

    def _shell(self, line: bytes) -> bytes:
        if not line.strip():  # Enter, twice
            return b""
        match = CAREFUL.fullmatch(line.decode("latin-1").rstrip(" ") + " ")
        if match is None:  # a byte became Enter
            return b"\r\nsh: syntax error\r\n"
        if match["command"] is None:
            number = match["number"].encode()
            empty = b"KSTEP-END %b \r\n" % number * 2  # the variable is not set
            return b"\r\n" + self._ends.get(number, empty)  # which is said twice
        self._runs = match["number"].encode()
        typed = f'{match["command"]}; echo KSTEP"-END" {match["number"]} $?\n'
        return self.kernel.hear(typed.encode())
