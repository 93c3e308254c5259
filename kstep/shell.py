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
        """The numbers that programs of tests/guest/ report: lines of ``name=value``.

        A line that a message of the kernel cut in two is none: half a number is worse than
        none. Raises MachineryError where there is no line left.
        """
        words = " ".join(FIGURES.findall(self.text)).split()
        if not words:
            raise MachineryError(f"no line of figures in {self.text[-200:]!r}")
        return {name: int(value) for name, value in (word.split("=") for word in words)}


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


class WayUp(Command):
    """The boot, as a command that nobody typed: it ends when the guest takes commands."""

    def __init__(self) -> None:
        super().__init__("boot", 0)

    @property
    def end(self) -> bytes:
        """The guest's word that it is ready."""
        return READY.pattern + rb"(?P<status>)"

    def answer(self, match: re.Match[bytes]) -> Answer:
        """Return all that was said on the way."""
        return Answer(0, match.string[: match.start()].decode(errors="replace").replace("\r", ""))
