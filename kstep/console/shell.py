# SPDX-License-Identifier: GPL-2.0-only
"""The guest's shell: a command goes in, its output and status come out.

The end of a command is told by a marker that the shell puts together, so that the
echo of the command itself cannot be taken for it. A message of the kernel may come between
any two characters of what a program prints, for both write to the UART as it has room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from kstep.base.errors import MachineryError

FIGURES = re.compile(r"^(?:[a-z_]+=-?\d+(?: |$))+$", re.MULTILINE)
# With CONFIG_PRINTK_TIME, each line of one; and who it is from, with CONFIG_PRINTK_CALLER.
MESSAGE = rb"(?:\[ *\d+\.\d+\](?:\[ *[CT]\d+\])? [^\n]*\n)*"
NEWLINE = rb"\r?" + MESSAGE + rb"\n"


def _uncut(words: bytes) -> bytes:
    """Return the pattern of ``words``, with messages of the kernel wherever they may come."""
    return b"".join(re.escape(words[n : n + 1]) + MESSAGE for n in range(len(words)))


def _some(character: bytes) -> bytes:
    """Return the pattern of some characters of a kind, with messages likewise."""
    return rb"(?:%b%b)+" % (character, MESSAGE)


READY = re.compile(  # tests/guest/init.c
    _uncut(b"KSTEP-READY ")
    + rb"(?P<release>%b)" % _some(rb"[\w.+~-]")
    + _uncut(b" cpus=")
    + rb"(?P<cpus>%b)" % _some(rb"\d")
    + NEWLINE
)


@dataclass(frozen=True)
class Answer:
    """What a command came to: its exit status, and all that was heard meanwhile."""

    status: int
    heard: str

    @property
    def text(self) -> str:
        """What programs said: what was heard, without the kernel's messages."""
        return re.sub(MESSAGE.decode(), "", self.heard)

    @property
    def figures(self) -> dict[str, int]:
        """The numbers that programs of tests/guest/ report: lines of ``name=value``.

        Raises MachineryError where there is no such line.
        """
        words = " ".join(FIGURES.findall(self.text)).split()
        if not words:
            raise MachineryError(f"no line of figures in {self.heard[-200:]!r}")
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
        status = rb"(?P<status>%b)" % _some(rb"\d")
        return _uncut(b"KSTEP-END %d " % self.number) + status + NEWLINE

    def answer(self, match: re.Match[bytes]) -> Answer:
        """Read the end that was found."""
        text = match.string[: match.start()].decode(errors="replace").replace("\r", "")
        status = int(re.sub(MESSAGE, b"", match["status"]))
        return Answer(status, text.partition("\n")[2])


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
