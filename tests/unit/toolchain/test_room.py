# SPDX-License-Identifier: GPL-2.0-only
"""A room whose container is none: what comes of what its supervisor says, or does not."""

from __future__ import annotations

import os
import select
import subprocess
from typing import TYPE_CHECKING

import pytest

from kstep.toolchain import room
from kstep.toolchain.engine import EngineError
from kstep.toolchain.room import ENDED, KILLED, SUPERVISOR, Room

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Supervised:
    """A container; ``answers`` tells whether its supervisor ends what it is told to end."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._words = os.open(argv[-1], os.O_WRONLY)
        self.answers = self.runs = True
        self.killed = 0

    def alive(self) -> bool:
        """Whether it runs."""
        return self.runs

    def processes(self) -> list[int]:
        """Return what runs in it."""
        return [1, 2]

    def write(self, data: bytes) -> None:
        """Do what is asked for."""
        if not self.runs:
            raise EngineError("hung up")
        if data == b"\n" and self.answers:
            self.say(KILLED)

    def say(self, word: bytes) -> None:
        """Say it to the room."""
        os.write(self._words, word)

    def end(self) -> None:
        """End, as a container does by itself."""
        self.runs = False
        os.close(self._words)

    def kill(self) -> None:
        """Be removed."""
        self.killed += 1
        if self.runs:
            self.end()


@pytest.fixture
def made() -> Iterator[tuple[Room, Supervised]]:
    """Make a room, and its container."""
    containers = []

    def start(argv: Sequence[str], writable: Sequence[Path], line: Path) -> Supervised:
        assert len(writable) == 2
        assert line.exists()
        containers.append(Supervised(argv))
        return containers[-1]

    one = Room(start, lambda path: path, lambda path: path)
    yield one, containers[0]
    one.close()


def test_a_program_is_over_when_the_supervisor_says_so(made: tuple[Room, Supervised]) -> None:
    one, container = made
    with one.bay() as bay:
        process = bay.spawn(["qemu"])
        assert process.alive()
        assert not one.is_free()
        assert process.processes() == [1, 2]
        (bay.folder / "output").write_text("no such device\n")
        container.say(ENDED)
        assert not process.alive()
        assert process.output() == "no such device\n"
        process.kill()
        process.kill()
    assert one.is_free()
    with one.bay() as bay:
        assert bay.spawn(["qemu"]).alive(), "what was said is of the last one"


def test_where_the_supervisor_does_not_answer_the_container_is_removed(
    made: tuple[Room, Supervised], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "ENDING", 0.1)
    one, container = made
    container.answers = False
    with one.bay() as bay:
        bay.spawn(["qemu"]).kill()
    assert container.killed == 1
    assert not one.is_free()


@pytest.mark.parametrize("busy", [True, False])
def test_a_container_that_ends_is_not_used_again(
    made: tuple[Room, Supervised], *, busy: bool
) -> None:
    """By itself, as when the engine is restarted."""
    one, container = made
    if busy:
        with one.bay() as bay:
            process = bay.spawn(["qemu"])
            container.end()
            assert not process.alive()
            process.kill()
    else:
        container.end()
    assert not one.is_free()


def test_an_engine_that_has_hung_up_is_named(made: tuple[Room, Supervised]) -> None:
    one, container = made
    container.end()
    with one.bay() as bay, pytest.raises(EngineError, match="hung up"):
        bay.spawn(["qemu"])
    assert not one.is_free()


def test_a_supervisor_kills_only_in_a_pid_namespace_of_its_own() -> None:
    """Nothing is fed to it here: it must not even read."""
    argv = ["sh", "-c", SUPERVISOR, "sh", "/dev/null"]
    assert subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode == 1


def test_a_machine_finds_nothing_of_the_last_one(made: tuple[Room, Supervised]) -> None:
    one, _ = made
    with one.bay() as bay:
        bay.spawn(["qemu"])
        (bay.folder / "qmp").touch()
        first = bay.folder
        os.write(bay.line.near, b"typed\n" * 400)
        os.write(bay.line.far, b"printed\n" * 400)
        one.end()
    assert not first.exists()
    with one.bay() as bay:
        assert bay.folder != first
        assert not any(bay.folder.iterdir())
        assert not select.select([bay.line.near, bay.line.far], [], [], 0.2)[0]
        os.write(bay.line.near, b"a\x03\n")
        assert os.read(bay.line.far, 9) == b"a\x03\n"
