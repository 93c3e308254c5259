# SPDX-License-Identifier: GPL-2.0-only
"""The guest's shell: a command goes in, its output and status come out.

The end of a command is known by a marker that the shell assembles, so that the echo of the
command itself cannot be mistaken for it. A kernel message may appear between any two
characters of what a program prints, because both write to the UART when it has room.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.console.console import LOOK, NOTHING, Editor
from kstep.console.message import MESSAGE, MESSAGE_LINE, some, uncut

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.console import Console

FIGURES = re.compile(r"^(?:[a-z_]+=-?\d+(?: |$))+$", re.MULTILINE)
HALF_AN_END = r"(?m)^\S*(?:KSTEP|TEP-E|-END)\S* ?[\d ]*\n"  # as a faulty line may damage it
END = re.compile(rb"KSTEP-END [^\n]*\n")
NEWLINE = rb"\r?" + MESSAGE + rb"\n"
TALK = 'while :; do echo t""ock; sleep 0.02; done'  # a guest that prints all the time
# The terminal's own keys, from drivers/tty/n_tty.c. It redraws a line only with IEXTEN, which
# tests/guest/init.c sets. An echo may be interrupted by messages, and by the output of commands
# that have ended or run in the background.
EDITOR = Editor(
    enter=b"\n",
    redraw=b"\x12",
    lead=re.compile(rb"(?:\^+R*|R+)\r*\n+"),  # ^R and a line end, as a faulty line may damage them
    erase=b"\x7f",
    others=re.compile(rb"(?:%b|tock\r?\n|KSTEP-END \d+ \d*\r?\n)" % MESSAGE_LINE),
    entered=re.compile(rb"\n"),
)


READY = re.compile(  # tests/guest/init.c
    uncut(b"KSTEP-READY ")
    + rb"(?P<release>%b)" % some(rb"[\w.+~-]")
    + uncut(b" cpus=")
    + rb"(?P<cpus>%b)" % some(rb"\d")
    + NEWLINE
)


def hear_out(console: Console, *, asked_again: bool) -> None:
    """Consume repeated ends of a command: one more, or several if asked again.

    Otherwise they would be mistaken for a part of the next echo.
    """
    console.settle(NOTHING if asked_again else END, LOOK)


@dataclass(frozen=True)
class CommandResult:
    """The result of a command: its exit status, and all that was received meanwhile.

    ``on_use`` is called when the output of programs is used.
    """

    status: int
    heard: str
    on_use: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)

    @property
    def text(self) -> str:
        """The output of programs: what was received, without the kernel's messages."""
        self.on_use()
        return re.sub(MESSAGE.decode(), "", self.heard)

    @property
    def figures(self) -> dict[str, int]:
        """The numbers that programs of tests/guest/ report: lines of ``name=value``.

        Raises MachineryError if there is no such line.
        """
        words = " ".join(FIGURES.findall(self.text)).split()
        if not words:
            raise MachineryError(f"no line of name=value in {self.heard[-200:]!r}")
        return {name: int(value) for name, value in (word.split("=") for word in words)}


@dataclass(frozen=True)
class Command:
    """A command and the number that identifies its end.

    ``keeps`` is for a faulty line: the end is printed twice, and the shell keeps the status, in a
    variable of this command alone, so that it can be asked again. What is typed then ends in a
    blank, because doubling that unseen, after the echo, changes nothing.
    """

    text: str
    number: int
    keeps: bool = False

    @property
    def line(self) -> bytes:
        """What is typed, without Enter."""
        if self.keeps:
            return f"{self.text}; k{self.number}=$?; {self._says}; {self._says} ".encode()
        return f'{self.text}; echo KSTEP"-END" {self.number} $?'.encode()

    @property
    def again(self) -> bytes:
        """What is typed to have the end printed again, when the command has ended."""
        return f"{self._says}; {self._says} ".encode()

    @property
    def _says(self) -> str:
        return f'echo KSTEP"-END" {self.number} $k{self.number}'

    @cached_property
    def end(self) -> bytes:
        """The pattern of its end, with the group ``status``.

        With ``keeps`` that may be empty: the shell has not run the command.
        """
        status = rb"(?P<status>(?:%b)%b)" % (some(rb"\d"), b"?" if self.keeps else b"")
        return uncut(b"KSTEP-END %d " % self.number) + status + NEWLINE

    def answer(self, match: re.Match[bytes]) -> CommandResult:
        """Return the result whose end was found."""
        text = match.string[: match.start()].decode(errors="replace").replace("\r", "")
        status = int(re.sub(MESSAGE, b"", match["status"]))
        if self.keeps:  # its echo was read before Enter was sent
            said = re.sub(EDITOR.lead.pattern.decode(), "", text.removeprefix("\n"))
            return CommandResult(status, re.sub(HALF_AN_END, "", said))
        return CommandResult(status, text.partition("\n")[2])


class WayUp(Command):
    """The boot, treated as a command that ends when the guest accepts commands."""

    def __init__(self) -> None:
        super().__init__("boot", 0)

    @cached_property
    def end(self) -> bytes:
        """The guest's message that it is ready."""
        return READY.pattern + rb"(?P<status>)"

    def answer(self, match: re.Match[bytes]) -> CommandResult:
        """Return all that was printed during the boot."""
        text = match.string[: match.start()].decode(errors="replace")
        return CommandResult(0, text.replace("\r", ""))
