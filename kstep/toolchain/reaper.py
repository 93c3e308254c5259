# SPDX-License-Identifier: GPL-2.0-only
"""A process that outlives kstep, however it ends, and removes what kstep could not.

It reads a pipe that kstep and its workers hold open: the pipe ends when the last of them is
gone, even by SIGKILL. Then it removes what the dead processes left: containers, and temporary
files in the folders that it was given. It is not a child of kstep, so that it survives if a
whole process tree is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.deadline import Deadline
from kstep.toolchain import container

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kstep.toolchain.interface import Toolchain

ROOT = Path(__file__).parents[2]
# Seconds between the rounds: a killed process may not be gone at once, and an engine may still
# be about to create a requested container.
PAUSES = (0.0, 0.3, 0.7)
# An engine that is restarted has the containers that were left when it went.
RESTART, EVERY = 600.0, 2.0  # seconds for it to answer, and between two tries

_held: list[Connection] = []  # kstep's end of the pipe, if it is watched


def start(toolchain: Toolchain, folders: Iterable[Path]) -> None:
    """Remove leftovers in ``folders`` and the folder of temporary files; then watch this process.

    A process is watched only once, however often this is called.
    """
    watched = [*temporary.folders(), *folders]
    temporary.sweep(watched)
    if _held:
        for folder in watched:
            also(folder)
        return
    far, near = os.pipe()
    try:
        subprocess.run(
            [
                *("setsid", "--fork", sys.executable, "-m", "kstep.toolchain.reaper"),
                *(toolchain.kind, *map(str, watched)),
            ],
            cwd=ROOT,
            stdin=far,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    except BaseException:
        os.close(near)
        raise
    finally:
        os.close(far)
    _held.append(Connection(near, readable=False))


def also(folder: Path) -> None:
    """Also remove what this process leaves in ``folder``."""
    _tell(f"{folder}")


@contextlib.contextmanager
def group(number: int) -> Iterator[None]:
    """Have a process group killed if this process does not reach the end of the block.

    A child can be made to end with its parent (PR_SET_PDEATHSIG), but not its own children.
    """
    _tell(f"+{number}")
    try:
        yield
    finally:
        _tell(f"-{number}")


def _tell(line: str) -> None:
    for connection in _held:
        with contextlib.suppress(OSError):  # the reaper was killed
            os.write(connection.fileno(), f"{line}\n".encode())


def held() -> Connection | None:
    """Return what a worker must hold to be watched too; it can be sent to the worker."""
    return _held[0] if _held else None


def hold(connection: Connection | None) -> None:
    """Have this worker watched too; ``connection`` is what held() returned."""
    if connection is not None:
        _held.append(connection)


def _watch(kind: str, folders: set[Path]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    answered = True
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line))
        elif line.startswith("-"):
            groups.discard(-int(line))
        else:
            folders.add(Path(line.rstrip("\n")))
    for pause in PAUSES:
        time.sleep(pause)
        for each in groups:
            with contextlib.suppress(OSError):
                os.killpg(each, signal.SIGKILL)
        temporary.sweep(folders)
        answered = kind != container.DockerToolchain.kind or container.remove_orphans()
    deadline = Deadline.after(RESTART)
    while not answered and deadline.left:
        time.sleep(EVERY)
        answered = container.remove_orphans()


if __name__ == "__main__":
    _watch(sys.argv[1], {Path(name) for name in sys.argv[2:]})
