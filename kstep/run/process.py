# SPDX-License-Identifier: GPL-2.0-only
"""A process that runs boots one by one, and says what comes of them."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.machine.emulated_host import EmulatedHosts
from kstep.results.cell import Cell
from kstep.run import runner
from kstep.run.boot import Boot, Result
from kstep.toolchain import reaper

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path
    from types import FrameType

    from kstep.toolchain import Toolchain

PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
TERMINAL_SIGNALS = {signal.SIGHUP, signal.SIGINT}  # to all processes of it

# What it sends: a cell that begins, a result, or why it cannot continue; None when the boot is
# done and its machine is gone.
Word = Cell | Result | str | None


class DeadError(Exception):
    """A process is gone; why, in a few words."""


class BootProcess:
    """A process that runs boots; ``connection`` can be waited for."""

    def __init__(self, toolchain: Toolchain) -> None:
        context = multiprocessing.get_context("spawn")
        # A pipe each: a killed process would leave the lock of a shared queue taken.
        self.connection, far = context.Pipe()
        self._process: SpawnProcess = context.Process(
            target=_work, args=(far, toolchain, reaper.held()), daemon=True
        )
        self._why = ""
        with _signals_held():
            self._process.start()
        far.close()  # so that the process's end of the pipe is the only one

    def take(self, boot: Boot, folder: Path) -> None:
        """Have it run a boot, whose files go into ``folder``."""
        self._send((boot, folder))

    def dismiss(self) -> None:
        """Have it end, because no boots are left."""
        self._send(None)

    def _send(self, order: tuple[Boot, Path] | None) -> None:
        with contextlib.suppress(OSError):  # it is dead; word() will raise
            self.connection.send(order)

    def word(self) -> Cell | Result | None:
        """Wait for what it sends next, and return that; None if it is done with its boot.

        Raises DeadError if it is dead, once everything it sent has been read.
        """
        try:
            word: Word = self.connection.recv()
        except (EOFError, OSError):  # OSError: in the middle of a message
            self._process.join()
            self.connection.close()
            raise DeadError(self._why or _ending(self._process.exitcode)) from None
        if isinstance(word, str):
            self._why = word
            return self.word()
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


def end(processes: Sequence[BootProcess], grace: float) -> None:
    """End processes in parallel, each its machine first; kill what takes over ``grace`` seconds."""
    for process in processes:
        process.terminate()
    deadline = Deadline.after(grace)
    for process in processes:
        process.join(deadline.left)


@contextlib.contextmanager
def _signals_held() -> Generator[None]:
    """Have processes started in the block never get a terminal's signals, nor multiprocessing's.

    Ctrl-C and a closed terminal signal every process, also one that is only starting; the main one
    decides, and terminates the others. They inherit that these signals are blocked. Here they are
    only held back: this process gets them after the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)
    try:
        resource_tracker.ensure_running()  # which lets SIGINT through again when it has started it
        signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- in the process


def _work(connection: Connection, toolchain: Toolchain, watched: Connection | None) -> None:
    reaper.hold(watched)
    # What a boot starts is not to inherit that Ctrl-C is blocked: it is ignored instead.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, _unwind)
    try:
        _end_with_parent()
        with toolchain.kept(), EmulatedHosts() as hosts:
            while (order := connection.recv()) is not None:
                boot, folder = order
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
