# SPDX-License-Identifier: GPL-2.0-only
"""The scheduler of this machine: boots in parallel, each in a process of its own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from kstep.base.errors import RequestError
from kstep.results.cell import Cell
from kstep.run import process
from kstep.run.boot import Result
from kstep.run.pending import Pending
from kstep.run.process import BootProcess, DeadError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kstep.run.boot import Boot
    from kstep.toolchain import Toolchain

GRACE = 20.0  # seconds for a worker to end its machine; a container takes a while


@dataclass
class _Worker:
    """A process, and the boot that it runs; None if it has been dismissed."""

    process: BootProcess
    pending: Pending | None

    def take(self, pending: Pending, folder: Path) -> None:
        self.pending = pending
        self.process.take(pending.rest, folder)


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
        waiting = deque(map(Pending.of, boots))
        most = 1 if any(boot.line for boot in boots) else self.jobs
        workers: dict[Connection, _Worker] = {}
        try:
            while waiting or workers:
                while waiting and len(workers) < most:
                    worker = _Worker(BootProcess(toolchain), None)
                    workers[worker.process.connection] = worker
                    worker.take(waiting.popleft(), folder)
                for connection in wait(list(workers)):
                    assert isinstance(connection, Connection)  # noqa: S101 -- only these were passed
                    worker = workers[connection]
                    pending = worker.pending
                    try:
                        word = worker.process.word()
                    except DeadError as dead:
                        del workers[connection]
                        if pending is not None:
                            toolchain.end_orphans()
                            if pending.died(str(dead), folder, self._say, on_result):
                                waiting.appendleft(pending)
                        continue
                    if isinstance(word, Result):
                        on_result(word if pending is None else pending.take(word))
                    elif isinstance(word, Cell):
                        on_start(word)
                    elif waiting:
                        worker.take(waiting.popleft(), folder)
                    else:
                        worker.pending = None
                        worker.process.dismiss()
        finally:
            process.end([worker.process for worker in workers.values()], GRACE)
            toolchain.end_orphans()
