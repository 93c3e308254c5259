# SPDX-License-Identifier: GPL-2.0-only
"""The guest's shell: a command goes in, its output and status come out.

The end of a command is told by a marker that the shell puts together, so that the
echo of the command itself cannot be taken for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FIGURE = re.compile(r"\b(?P<name>[a-z_]+)=(?P<value>-?\d+)\b")
READY = re.compile(rb"KSTEP-READY (?P<release>\S+) cpus=(?P<cpus>\d+)\r?\n")  # tests/guest/init.c


@dataclass(frozen=True)
class Answer:
    """What a command came to: its exit status, and all that the line said meanwhile."""

    status: int
    text: str

    @property
    def figures(self) -> dict[str, int]:
        """The numbers that a program of tests/guest/ reports: ``name=value``."""
        return {match["name"]: int(match["value"]) for match in FIGURE.finditer(self.text)}


@dataclass(frozen=True)
class Command:
    """A command and the number by which its end is known."""

    text: str
    number: int

    @property
    def line(self) -> bytes:
        """What is typed."""
        return f'{self.text}; echo KSTEP"-END" {self.number} $?\n'.encode()

    @property
    def end(self) -> bytes:
        """The pattern of its end, with the group ``status``."""
        return rb"KSTEP-END %d (?P<status>\d+)\r?\n" % self.number

    def answer(self, match: re.Match[bytes]) -> Answer:
        """Read the end that was found."""
        text = match.string[: match.start()].decode(errors="replace").replace("\r", "")
        return Answer(int(match["status"]), text.partition("\n")[2])
