# SPDX-License-Identifier: GPL-2.0-only
"""A container that is kept for the machines of a worker, which run in it one after another.

To start and to remove a container takes half as long as a guest boots. So its first process is a
supervisor, which starts a program, ends it and all that it left, and starts the next one.
"""

from __future__ import annotations

import os
import select
import shlex
import shutil
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Protocol

from kstep.base.deadline import Deadline
from kstep.base.pty import Pty
from kstep.toolchain.engine import EngineError
from kstep.toolchain.interface import Bay, Process, bay_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

# Its standard input has the folder of each program, and then a line at which the program ends.
# kill -1 means every process of the container but the supervisor and init, and fails if there is
# none, not even a dead one that init has not reaped (kill_something_info() in kernel/signal.c).
# When the input ends, because the process that holds its other end is gone, so does the supervisor;
# then init ends, and what is left in the PID namespace.
# It does nothing if its parent is not init, because the engine was told to share PIDs (pidns in
# containers.conf): -1 would be every process of the user.
SUPERVISOR = """\
[ "$PPID" = 1 ] || exit 1
exec 3>"$1"
while read -r folder; do
    { . "$folder/command" </dev/null >"$folder/output" 2>&1 3>&-; echo ended >&3; } &
    read -r end
    while kill -KILL -1; do wait; done 2>/dev/null
    echo killed >&3
done
"""
ENDED, KILLED = b"ended\n", b"killed\n"  # what it says
ENDING = 5.0  # seconds for it to end a program; it takes a millisecond on an idle host
COMMAND, OUTPUT = "command", "output"  # of the program, in its folder


class Container(Protocol):
    """The container, as a process that reads its standard input from here."""

    def alive(self) -> bool:
        """Whether it runs; raises EngineError if the engine does not answer."""

    def processes(self) -> list[int]:
        """Return the PIDs of its processes; empty if they are not visible here."""

    def write(self, data: bytes) -> None:
        """Write to its standard input; EngineError if that is closed."""

    def kill(self) -> None:
        """Remove it."""


class Room:
    """A container with two folders and a serial line; its programs see nothing else of this host.

    ``start`` starts it with a command, the folders that it may write, and the line, which is
    ``inside(line)`` there. ``own`` gives files to whom the programs run as.
    """

    def __init__(
        self,
        start: Callable[[Sequence[str], Sequence[Path], Path], Container],
        own: Callable[[Path], Path],
        inside: Callable[[Path], Path],
    ) -> None:
        self._own = own
        self._numbers = count(1)
        self._is_free = True
        self._said = b""  # by the supervisor, since the program was started
        with ExitStack() as stack:
            self._folder, self._in_memory = stack.enter_context(bay_folders(own))
            self._line = Pty.open(stack)
            self._path = inside(self._line.path)
            words = self._folder / "words"
            os.mkfifo(words, 0o600)
            own(words)
            self._words = os.open(words, os.O_RDONLY | os.O_NONBLOCK)
            stack.callback(os.close, self._words)
            self._poll = select.poll()
            self._poll.register(self._words, select.POLLIN)
            argv = ["sh", "-c", SUPERVISOR, "sh", str(words)]
            self._container = start(argv, [self._folder, self._in_memory], self._line.path)
            stack.callback(self._container.kill)
            self._stack = stack.pop_all()

    def is_free(self) -> bool:
        """Whether it can have a machine: no other one is in it, and its supervisor runs."""
        return self._is_free and self._hear()

    @contextmanager
    def bay(self) -> Iterator[Bay]:
        """Give it to a machine, in whose place there is nothing of the machines before it."""
        folder = self._folder / str(next(self._numbers))
        try:
            folder.mkdir(0o700)
            self._line.renew()
            yield Bay(
                self._own(folder),
                self._in_memory,
                self._line,
                self._path,
                lambda argv: RoomProcess(self, argv, folder),
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def begin(self, argv: Sequence[str], folder: Path) -> None:
        """Start a program in the folder that is its machine's."""
        self._is_free, self._said = False, b""
        (folder / COMMAND).write_text(shlex.join(argv))
        self._own(folder / COMMAND)
        self._container.write(f"{folder}\n".encode())

    def runs(self) -> bool:
        """Whether the program runs; raises EngineError if the engine does not answer."""
        return self._container.alive() and self._hear() and ENDED not in self._said

    def processes(self) -> list[int]:
        """Return the PIDs of what runs in it."""
        return self._container.processes()

    def end(self) -> None:
        """End the program, and what it has started; if that fails, the container."""
        deadline = Deadline.after(ENDING)
        with suppress(EngineError):
            self._container.write(b"\n")
            while KILLED not in self._said and self._hear(deadline.left) and deadline.left:
                pass
        self._is_free = KILLED in self._said
        if not self._is_free:
            self.close()

    def close(self) -> None:
        """End it and all that runs in it; harmless if it has ended."""
        self._is_free = False
        self._stack.close()

    def _hear(self, seconds: float = 0.0) -> bool:
        """Receive what the supervisor says within ``seconds``; whether it is there."""
        for _, event in self._poll.poll(seconds * 1000):
            if not event & select.POLLIN:
                return False
            self._said += os.read(self._words, 4096)
        return True


class RoomProcess(Process):
    """A program in a room, which it has for itself; its output goes to a file."""

    def __init__(self, room: Room, argv: Sequence[str], folder: Path) -> None:
        self._room = room
        self._output = folder / OUTPUT
        self._is_killed = False
        room.begin(argv, folder)

    def alive(self) -> bool:
        """Whether it runs; raises EngineError if the engine does not answer."""
        return self._room.runs()

    def output(self) -> str:
        """Return the end of what it printed."""
        try:
            return self._output.read_text(errors="replace")[-4096:]
        except OSError:
            return ""

    def processes(self) -> list[int]:
        """Return what runs in the container; empty if the engine has another PID namespace."""
        return self._room.processes()

    def kill(self) -> None:
        """End it, and wait until it is gone; the room can have the next one then."""
        if not self._is_killed:
            self._is_killed = True
            self._room.end()
