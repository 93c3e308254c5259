# SPDX-License-Identifier: GPL-2.0-only
"""The guest's console: what is shown of it, what is typed to it, when it is told a size."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.errors import MachineryError
from kstep.hand import shell
from kstep.machine.hardware import Hardware
from tests.unit.farend import byte_by_byte, line_to, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kstep.console.console import Console
    from kstep.hand.terminal import Terminal
    from kstep.machine.interface import Machine

SHELL, ASKS = b"guest# ", b"\x1b[6n"


@dataclass
class Screen:
    """A terminal of which only what is shown, and its size, is looked at."""

    size: tuple[int, int] | None = (33, 99)
    resized: bool = True
    shown: bytes = b""

    def show(self, data: bytes) -> None:
        """Show it."""
        self.shown += data

    def say(self, text: str) -> None:
        """Show a line."""
        self.shown += text.encode() + b"\n"


def a_machine(console: Console | None = None, serial: int = -1, **more: object) -> Machine:
    """Return what the console of a machine needs."""
    own = {
        "console": console,
        "serial": serial,
        "hardware": Hardware(),
        "require_alive": lambda: None,
        **more,
    }
    return cast("Machine", SimpleNamespace(**own))


# -- what is shown


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
def test_the_boot_is_shown_but_for_the_question_where_the_cursor_is(
    cut: Callable[[bytes], Iterable[bytes]],
) -> None:
    """The shell asks it behind each prompt; a terminal's answer would be typed."""
    said = b"[    0.1] \x1b[1mBooting\x1b[m\r\n" + SHELL + ASKS + b"ls" + ASKS
    console = SimpleNamespace(on_text=None)

    def boot() -> None:
        for piece in cut(said):
            console.on_text(piece)

    screen = Screen()
    machine = a_machine(cast("Console", console), boot=boot)
    shell._boot(machine, cast("Terminal", screen))
    assert screen.shown == said.replace(ASKS, b"")


# -- what is typed by a script


@dataclass
class Guest:
    """A guest that answers each line with a prompt of the shell, of kdb or of its pager."""

    typed: list[bytes] = field(default_factory=list)
    greeted: bool = False
    prompts: list[bytes] = field(default_factory=list)

    def hear(self, typed: bytes) -> bytes:
        """Note a line, and answer."""
        if not self.greeted:
            self.greeted = True
            return b"Run /init\r\n" + SHELL + ASKS
        self.typed.append(typed)
        return b"said\r\n" + (self.prompts.pop(0) if self.prompts else SHELL)


def typed_by(script: bytes, monkeypatch: pytest.MonkeyPatch, *prompts: bytes) -> list[bytes]:
    """Run a script; give what the guest was typed."""
    reader, writer = os.pipe()
    os.write(writer, script)
    os.close(writer)
    guest = Guest(prompts=list(prompts))
    monkeypatch.setattr(os, "dup", lambda _fd: reader)
    with line_to(guest) as console:
        machine = a_machine(console)
        shell._await_prompt(machine)
        shell._script(machine, cast("Terminal", Screen()))
    return guest.typed


def test_lines_are_typed_each_at_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = typed_by(b"echo g\r\nbt\ngo", monkeypatch, b"[0]kdb> ", b"kdb> ")
    assert typed == [b"echo g\r", b"bt\r", b"go\r"]


def test_a_pager_gets_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = typed_by(b"ps\nls\n", monkeypatch, b"more> ", b"more> ", b"[1]kdb> ")
    assert typed == [b"ps\r", b" ", b" ", b"ls\r"]


def test_a_guest_that_never_prompts_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "PATIENCE", 0.2)
    with pytest.raises(MachineryError, match="the guest: no prompt"):
        typed_by(b"x\n", monkeypatch, b"no prompt here")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"guest# ", True),
        (b"guest# \x1b[6n", True),
        (b"[0]kdb> ", True),
        (b"kdb> ", True),
        (b"more> ", True),
        (b"guest# ls\r\n", False),
        (b"kdb>", False),
    ],
)
def test_what_is_a_prompt(text: bytes, found: bool) -> None:  # noqa: FBT001 -- of a table
    assert (re.search(shell.PROMPT, text) is not None) == found


# -- its size


def told(said: Iterable[bytes], screen: Screen, hardware: Hardware | None = None) -> bytes:
    """Let the guest say something; give what it is told of the terminal by that."""
    reader, writer = os.pipe()
    machine = a_machine(serial=writer, hardware=hardware or Hardware())
    console = shell._Console(machine, cast("Terminal", screen))
    for each in said:
        assert console._look(each) is False
    os.close(writer)
    with os.fdopen(reader, "rb") as heard:
        return heard.read()


def test_a_size_is_told_at_the_next_prompt_and_once() -> None:
    assert told([b""], Screen()) == b"stty rows 33 cols 99\r"
    assert (
        told([b"ls\r\n", b"a b\r\n", b"gue", b"st# ", b""], Screen(resized=True)).count(b"\r") == 1
    )


def test_no_program_is_told_a_size_in_the_middle_of_its_work() -> None:
    screen = Screen()
    assert told([b"cat\r\n", b"[0]kdb> "], screen) == b""
    assert screen.resized  # still to be told
    assert told([b"cat\r\n", b"guest# ", ASKS], screen) == b"stty rows 33 cols 99\r"


def test_kdb_is_told_no_size_by_a_boot_that_waits_in_it() -> None:
    waits = Hardware.of(1, "", "kgdbwait")
    assert told([b""], Screen(), waits) == b""
    assert told([b"", b"guest# "], Screen(), waits) == b"stty rows 33 cols 99\r"


def test_a_terminal_without_a_size_says_none() -> None:
    assert told([b""], Screen(size=None)) == b""


def test_a_key_away_is_kdb() -> None:
    """By sysrq-g: BREAK, then a letter."""
    reader, writer = os.pipe()
    done: list[str] = []
    machine = a_machine(serial=writer, send_break=lambda: done.append("break"))
    console = shell._Console(machine, cast("Terminal", Screen()))
    assert console._enter_kdb() is False  # it is not over by that
    os.close(writer)
    with os.fdopen(reader, "rb") as heard:
        assert heard.read() == b"g"
    assert done == ["break"]
