# SPDX-License-Identifier: GPL-2.0-only
"""gdb in the user's hands: what it is told, how it is started, when the guest gets a line."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest

from kstep.hand import debugger
from tests.unit.fakeqemu import FakeToolchain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kstep.console.relay import Relay
    from kstep.hand.terminal import Terminal
    from kstep.machine.interface import Machine
    from kstep.run.preparation import Prepared


class Toolchain(FakeToolchain):
    """Starts nothing, and keeps what was to be started."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.argv: Sequence[str] = ()

    def spawn(self, argv: Sequence[str], **_: object) -> SimpleNamespace:  # type: ignore[override]
        """Keep it."""
        self.argv = argv
        return SimpleNamespace(alive=lambda: True, kill=lambda: None)


class Session:
    """A gdb that does not run, on a machine that is none."""

    def __init__(self, files: dict[str, bytes | None]) -> None:
        self.sent: list[bytes] = []
        self.toolchain = Toolchain()
        self.relay = SimpleNamespace(
            running=False, pty=Path("/dev/pts/9"), require_sound=lambda: None
        )
        tree = SimpleNamespace(source=Path("/a cache/trees/linux"))
        variants = ((None, SimpleNamespace(files=files)),)
        prepared = SimpleNamespace(
            toolchain=self.toolchain,
            built=(SimpleNamespace(variants=variants, tree=tree),),
            trees=(tree,),
        )
        machine = SimpleNamespace(
            kernel=SimpleNamespace(folder=Path("/k"), vmlinux=Path("/k/vmlinux")),
            console=SimpleNamespace(send=self.sent.append, catch_up=lambda: None),
            require_alive=lambda: None,
        )
        self.gdb = debugger._Gdb(
            cast("Prepared", prepared),
            cast("Machine", machine),
            cast("Relay", self.relay),
            cast("Terminal", SimpleNamespace(resized=False, size=None)),
        )


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Return one whose kernel was compiled elsewhere, with a file changed and another gone."""
    monkeypatch.setattr(debugger, "source_folder", lambda *_: "/build/source")
    monkeypatch.setenv("TERM", "xterm-256color")
    found = Session({"kernel/x.c": b"int x;\n", "kernel/gone.c": None})
    with found.gdb:
        yield found


def script(session: Session) -> list[str]:
    """Read the commands that gdb begins with."""
    argv = list(session.toolchain.argv)
    return Path(argv[argv.index("-ix") + 1]).read_text().splitlines()


def test_the_sources_are_those_of_the_variant(session: Session) -> None:
    """First those that it changes; whatever folder they are in is one word to gdb."""
    rules = [shlex.split(line) for line in script(session) if "substitute-path" in line]
    assert [len(rule) for rule in rules] == [4, 4]
    assert rules[0][2] == "/build/source/kernel/x.c"
    assert Path(rules[0][3]).read_text() == "int x;\n"
    assert rules[1][2:] == ["/build/source", "/a cache/trees/linux"]


def test_a_user_s_settings_are_not_read_and_pages_are_kept(session: Session) -> None:
    assert "-nx" in session.toolchain.argv
    assert "set pagination off" not in script(session)
    assert "set confirm off" in script(session)


def test_it_knows_the_terminal_wherever_it_runs(session: Session) -> None:
    """A container has a TERM of its own, or none, and then gdb has no colours and no editing."""
    assert list(session.toolchain.argv[:2]) == ["env", "TERM=xterm-256color"]


def test_guest_is_a_command(session: Session) -> None:
    text = "\n".join(script(session))
    code = text.partition("python\n")[2].removesuffix("end")
    compile(code, "gdb", "exec")
    assert 'super().__init__("guest"' in code


@contextmanager
def gdb_s_line(session: Session) -> Iterator[BinaryIO]:
    """Open what the guest's commands are written to, as gdb does."""
    found = re.search(r"with open\('(?P<path>[^']+)', ", "\n".join(script(session)))
    assert found is not None
    with Path(found["path"]).open("wb", buffering=0) as line:
        yield cast("BinaryIO", line)


def test_a_line_for_the_guest_waits_until_the_kernel_runs(session: Session) -> None:
    """And not the step over a breakpoint, with which gdb lets it run first."""
    with gdb_s_line(session) as line:
        line.write(b"mkdir /x\nls\n")
        look = session.gdb._look
        look(b"")
        look(b"")
        assert session.sent == []
        session.relay.running = True
        look(b"")
        assert session.sent == []
        look(b"")
        assert session.sent == [b"mkdir /x\n"]
        session.relay.running = False
        look(b"")
        session.relay.running = True
        look(b"")
        assert session.sent == [b"mkdir /x\n"]
        look(b"")
        assert session.sent == [b"mkdir /x\n", b"ls\n"]
