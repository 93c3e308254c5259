# SPDX-License-Identifier: GPL-2.0-only
"""The interface of a toolchain, which runs a compiler, an emulator and gdb."""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from kstep.base import temporary
from kstep.base.errors import MachineryError
from kstep.base.pty import Pty
from kstep.toolchain.compiler import GCC
from kstep.toolchain.emulator import QEMU
from kstep.toolchain.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kstep.toolchain.compiler import Compiler
    from kstep.toolchain.emulator import Emulator
    from kstep.toolchain.limits import Limits

KILLED = 137  # a shell's status of a command that SIGKILL ended
GDB = Program("gdb-multiarch", says="GNU gdb")


def ignore(_line: str) -> None:
    """Ignore a line of output."""


@dataclass(frozen=True)
class Versions:
    """What compiled and ran the kernels, each as the program prints it."""

    cc: str
    ld: str
    emulator: str
    gdb: str

    @property
    def compiler(self) -> str:
        """What a kernel's image depends on, and so a part of its key."""
        return f"{self.cc}; {self.ld}"


class CommandError(MachineryError):
    """A command of the toolchain ended with a status that is not 0.

    ``details`` holds the last lines that it printed.
    """

    def __init__(self, argv: Sequence[str], status: int, tail: Iterable[str]) -> None:
        super().__init__(f"{' '.join(argv[:3])} … ended with status {status}", details=tuple(tail))
        self.exit_status = status


class LimitError(CommandError):
    """A command was ended because it exceeded a limit; ``reason`` says which."""

    def __init__(self, argv: Sequence[str], reason: str, tail: Iterable[str]) -> None:
        super().__init__(argv, KILLED, tail)
        self.reason = reason

    def __str__(self) -> str:
        return f"ended by kstep: it used {self.reason}"


def family(pid: int) -> list[int]:
    """Return a process and those of its descendants that still exist."""
    found = [pid]
    for each in found:  # the list grows meanwhile
        for path in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):  # it has just ended
                found += map(int, path.read_text().split())
    return found


class Process(ABC):
    """A started program that keeps running: a machine."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether it still runs."""

    @abstractmethod
    def output(self) -> str:
        """Return its standard output and error, at most the last 4 KiB."""

    def processes(self) -> list[int]:
        """Return the PIDs of its processes; empty if they are not visible here."""
        return []

    @abstractmethod
    def kill(self) -> None:
        """End it at once and release its resources; harmless if it has ended."""


@dataclass(frozen=True)
class Bay:
    """The place of one machine, until it has ended: its files, its line, and how to start it.

    ``folder`` is its own; ``in_memory`` is a folder for a file that must not be written to a
    disk, or ``folder`` if this host has none. ``path`` is that of ``line`` for the program that
    ``spawn`` starts; the folders have the same paths there.
    """

    folder: Path
    in_memory: Path
    line: Pty
    path: Path
    spawn: Callable[[Sequence[str]], Process]


@contextmanager
def bay_folders(own: Callable[[Path], Path]) -> Iterator[tuple[Path, Path]]:
    """Make ``folder`` and ``in_memory`` of a bay, and give them away by ``own``."""
    with ExitStack() as stack:
        found = []
        for above in (None, temporary.IN_MEMORY):
            if above is None or os.access(above, os.W_OK):
                name = tempfile.mkdtemp(prefix=temporary.prefix(), dir=above)
                stack.callback(shutil.rmtree, name, ignore_errors=True)
                found.append(own(Path(name)))
        yield found[0], found[-1]


class Toolchain(ABC):
    """Runs commands with a cross compiler, an emulator and gdb on their PATH."""

    kind: ClassVar[str]
    contains: ClassVar[bool]  # whether its commands have no access to the user's files and network
    image_digest: str | None = None

    def __init__(self, why: str) -> None:
        self.why = why

    @property
    @abstractmethod
    def debian(self) -> str:
        """The codename of the Debian release of its programs.

        The guest's busybox is from that release too, and its apt has that release's archives.
        """

    @abstractmethod
    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        limits: Limits | None = None,
        at: Mapping[Path, Path] | None = None,
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run a command to its end; ``on_line`` is called with each line of its output.

        ``readable`` and ``writable`` are the folders that it sees (``cwd`` is one of them).
        ``at`` maps such a folder to the folder of this machine that it stands for, if that has
        another path; only a toolchain that ``contains`` can do that. Raises CommandError if the
        command's status is not 0, LimitError if it exceeded ``limits``, which on the host do not
        include memory and processes.
        """

    @abstractmethod
    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        lines: Sequence[Path] = (),
        devices: Sequence[Path] = (),
    ) -> Process:
        """Start a program that keeps running.

        ``lines`` are ptys, each opened as ``inside(line)``; ``devices`` are the machine's
        devices that it may open.
        """

    @contextmanager
    def bay(self, readable: Sequence[Path], devices: Sequence[Path] = ()) -> Iterator[Bay]:
        """Have a bay for the block; its machine sees ``readable`` and ``devices`` as in spawn()."""
        with ExitStack() as stack:
            folder, in_memory = stack.enter_context(bay_folders(self.own))
            line = Pty.open(stack)
            yield Bay(
                folder,
                in_memory,
                line,
                self.inside(line.path),
                lambda argv: self.spawn(
                    argv,
                    readable=readable,
                    writable=[folder, in_memory],
                    lines=[line.path],
                    devices=devices,
                ),
            )

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep for the block what makes a bay slow to have: the next bay is in the same place."""
        yield

    def renew(self) -> None:  # noqa: B027 -- nothing is kept
        """Have the next bay in a new place."""

    def end_orphans(self, *, own: bool = False) -> None:  # noqa: ARG002 -- on the host a child ends with its parent
        """End what a kstep process that is gone left running, and remove its files.

        With ``own``, also end what this process left running.
        """
        temporary.sweep(temporary.folders())

    def inside(self, line: Path) -> Path:
        """Return the path that a pty of this machine has for the program."""
        return line

    def own(self, path: Path) -> Path:
        """Give a file or folder, but not its contents, to the user who builds; return it."""
        return path

    def text(self, argv: Sequence[str]) -> str:
        """Return what a short command prints."""
        lines: list[str] = []
        with temporary.folder() as scratch:
            self.run(argv, cwd=Path(scratch), readable=[Path(scratch)], on_line=lines.append)
        return "\n".join(lines)

    def versions(self, compiler: Compiler = GCC, emulator: Emulator = QEMU) -> Versions:
        """Ask each program for its version."""
        programs = (compiler.cc, compiler.ld, emulator.program, GDB)
        script = "; ".join(f"{program.name} --version" for program in programs)
        said = self.text(["sh", "-c", script]).splitlines()
        return Versions(*(program.version(said) for program in programs))
