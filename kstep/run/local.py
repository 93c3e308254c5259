# SPDX-License-Identifier: GPL-2.0-only
"""The scheduler of this machine: boots in parallel, each in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
from collections import deque
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.base.errors import RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.machine.emulated_host import EmulatedHosts
from kstep.results.cell import Cell, Try
from kstep.run import runner
from kstep.run.boot import Boot, Result
from kstep.run.scheduler import MOST_WORKERS
from kstep.toolchain import reaper

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from multiprocessing.context import SpawnProcess
    from pathlib import Path
    from types import FrameType

    from kstep.toolchain import Toolchain

GRACE = 20.0  # seconds for a worker to end its machine; a container takes a while
PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h

# What a worker sends: a cell that begins, a result, or why it cannot continue; None when the
# boot is done and its machine is gone.
Word = Cell | Result | str | None


@dataclass
class _Pending:
    """A boot that is not done: the cells without a result, and how its workers have died.

    ``earlier`` are the tries in which they died, by the cell.
    """

    boot: Boot
    cells: list[Cell]
    deaths: list[str] = field(default_factory=list)
    earlier: dict[Cell, Try] = field(default_factory=dict)


class _DeadError(Exception):
    """A worker process is gone; why, in a few words."""


class _Worker:
    """A process that runs boots one by one; ``pending`` is the current one."""

    def __init__(self, toolchain: Toolchain, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        # A pipe each: a killed process would leave the lock of a shared queue taken.
        self.connection, far = context.Pipe()
        self.pending: _Pending | None = None
        self._process: SpawnProcess = context.Process(
            target=_work, args=(far, toolchain, folder, reaper.held()), daemon=True
        )
        self._why = ""
        with _hangup_ignored():
            self._process.start()
        far.close()  # so that the process's end of the pipe is the only one

    def take(self, pending: _Pending) -> None:
        """Have it run the cells of a boot that have no result."""
        self.pending = pending
        tried = frozenset(pending.earlier)
        self._send(replace(pending.boot, cells=tuple(pending.cells), tried=tried))

    def dismiss(self) -> None:
        """Have it end, because no boots are left."""
        self._send(None)

    def _send(self, boot: Boot | None) -> None:
        with contextlib.suppress(OSError):  # it is dead; word() will raise
            self.connection.send(boot)

    def word(self) -> Cell | Result | None:
        """Wait for what it sends next, and return that; None if it is done with its boot.

        Raises _DeadError if it is dead, once everything it sent has been read.
        """
        try:
            word: Word = self.connection.recv()
        except (EOFError, OSError):  # OSError: in the middle of a message
            self._process.join()
            self.connection.close()
            raise _DeadError(self._why or _ending(self._process.exitcode)) from None
        if isinstance(word, str):
            self._why = word
            return self.word()
        if isinstance(word, Result) and self.pending is not None:
            self.pending.cells.remove(word.cell)
            if (earlier := self.pending.earlier.get(word.cell)) is not None:
                return replace(word, earlier=(earlier, *word.earlier))
        elif word is None:
            self.pending = None
        return word

    def terminate(self) -> None:
        """Tell it to end its machine and itself."""
        self._process.terminate()

    def join(self, seconds: float) -> None:
        """Wait until it has ended, and kill it if it does not within ``seconds``."""
        self._process.join(max(0.0, seconds))
        self._process.kill()
        self._process.join()


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        return signal.Signals(-status).name
    return f"status {status}"


class LocalProcesses:
    """A Scheduler: up to ``jobs`` boots at a time, in processes that are started as needed.

    ``say`` is called with a line for the user when a worker has died. run() must be called on the
    main thread, because it handles signals. Raises RequestError for ``jobs`` below 1.
    """

    def __init__(self, jobs: int, say: Callable[[str], None]) -> None:
        if jobs < 1:
            raise RequestError(f"--jobs {jobs}: must be 1 or more")
        self.jobs = jobs
        self._say = say

    def run(
        self,
        boots: Sequence[Boot],
        toolchain: Toolchain,
        folder: Path,
        on_start: Callable[[Cell], None],
        on_result: Callable[[Result], None],
    ) -> None:
        """Run all boots; see Scheduler."""
        waiting = deque(_Pending(boot, list(boot.cells)) for boot in boots)
        most = 1 if any(boot.line for boot in boots) else self.jobs
        workers: dict[Connection, _Worker] = {}
        try:
            while waiting or workers:
                while waiting and len(workers) < most:
                    worker = _Worker(toolchain, folder)
                    workers[worker.connection] = worker
                    worker.take(waiting.popleft())
                for connection in wait(list(workers)):
                    assert isinstance(connection, Connection)  # noqa: S101 -- only these were passed
                    worker = workers[connection]
                    try:
                        word = worker.word()
                    except _DeadError as dead:
                        del workers[connection]
                        if worker.pending is not None:
                            toolchain.end_orphans()
                            self._lost(worker.pending, dead, waiting, folder, on_result)
                        continue
                    if isinstance(word, Result):
                        on_result(word)
                    elif isinstance(word, Cell):
                        on_start(word)
                    elif waiting:
                        worker.take(waiting.popleft())
                    else:
                        worker.dismiss()
        finally:
            _end(list(workers.values()))
            toolchain.end_orphans()

    def _lost(
        self,
        pending: _Pending,
        dead: _DeadError,
        waiting: deque[_Pending],
        folder: Path,
        on_result: Callable[[Result], None],
    ) -> None:
        """Have another worker run what is left of a boot, or give it up."""
        pending.deaths.append(str(dead))
        if not pending.cells:
            self._say(f"a worker process died after its boot was done ({dead})")
            return
        first = pending.cells[0]
        said = f"{first.variant} {first.name}: a worker process died ({dead})"
        if len(pending.deaths) < MOST_WORKERS:
            self._say(f"{said}; another one runs its boot")
            lost = Result(
                first, Outcome.ERROR, Signature.INFRASTRUCTURE, f"a worker process died ({dead})"
            )
            pending.earlier[first] = lost.as_earlier(runner.set_aside(first, folder))
            waiting.appendleft(pending)
            return
        self._say(f"{said} like the one before; boot given up")
        message = f"{MOST_WORKERS} worker processes died in this boot: {'; '.join(pending.deaths)}"
        for cell in pending.cells:
            on_result(
                Result(
                    cell,
                    Outcome.ERROR,
                    Signature.INFRASTRUCTURE,
                    message if cell == first else f"not run: {message}, at {first.name}",
                    files=runner.files(cell, folder),
                    earlier=(pending.earlier[cell],) if cell in pending.earlier else (),
                )
            )


def _end(workers: Sequence[_Worker]) -> None:
    """End workers in parallel; each ends its machine first."""
    for worker in workers:
        worker.terminate()
    deadline = Deadline.after(GRACE)
    for worker in workers:
        worker.join(deadline.left)


@contextlib.contextmanager
def _hangup_ignored() -> Generator[None]:
    """Have processes started in the block ignore SIGHUP, including multiprocessing's own helper.

    A closed terminal signals every process; this one decides, and terminates the others.
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


# -- in the worker's process


def _work(
    connection: Connection,
    toolchain: Toolchain,
    folder: Path,
    watched: Connection | None,
) -> None:
    reaper.hold(watched)
    # Ctrl-C reaches every process of the terminal; the parent decides, and terminates.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _unwind)
    try:
        _end_with_parent()
        with EmulatedHosts() as hosts:
            while (boot := connection.recv()) is not None:
                _run(boot, connection, toolchain, folder, hosts)
                connection.send(None)
    except SystemExit:
        toolchain.end_orphans(own=True)  # the signal may have interrupted their end
    except Exception as error:
        try:
            connection.send(f"{type(error).__name__}: {error}")
        except OSError:
            return  # the parent is gone, which is the error
        if isinstance(error, OSError):  # the machine's fault, such as a full disk: said above
            raise SystemExit(1) from None
        raise


def _run(
    boot: Boot,
    connection: Connection,
    toolchain: Toolchain,
    folder: Path,
    hosts: EmulatedHosts,
) -> None:
    connection.send(boot.cells[0])
    with contextlib.closing(runner.run(boot, toolchain, folder, hosts)) as results:
        for result, following in zip(results, (*boot.cells[1:], None), strict=True):
            connection.send(result)
            if following is not None:
                connection.send(following)


def _end_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when its parent dies, even by SIGKILL."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = multiprocessing.parent_process()
    if parent is None or os.getppid() != parent.pid:
        raise SystemExit(1)  # it is already dead


def _unwind(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not disturb the clean-up
    raise SystemExit(1)
