# SPDX-License-Identifier: GPL-2.0-only
"""The guest's shell: a command goes in, its output and status come out.

The end of a command is told by a marker that the shell puts together, so that the
echo of the command itself cannot be taken for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kstep.errors import MachineryError

FIGURES = re.compile(r"^(?:[a-z_]+=-?\d+(?: |$))+$", re.MULTILINE)
READY = re.compile(rb"KSTEP-READY (?P<release>\S+) cpus=(?P<cpus>\d+)\r?\n")  # tests/guest/init.c


@dataclass(frozen=True)
class Answer:
    """What a command came to: its exit status, and all that the line said meanwhile."""

    status: int
    text: str

    @property
    def figures(self) -> dict[str, int]:
        """The numbers that a program of tests/guest/ reports: a line of ``name=value``.

        Raises MachineryError where there is none, or where a message of the kernel cut it
        in two: half a number is worse than none.
        """
        lines = FIGURES.findall(self.text)
        if len(lines) != 1:
            raise MachineryError(f"no line of figures, or several, in {self.text[-200:]!r}")
        return {name: int(value) for name, value in (part.split("=") for part in lines[0].split())}


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
