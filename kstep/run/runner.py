# SPDX-License-Identifier: GPL-2.0-only
"""Runs boots: a boot on this process, and many on processes side by side.

What to run is decided elsewhere (``plan``). A boot needs only a Boot and the files that
it names, and gives one Result a cell, so that another runner may take boots elsewhere.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Outcome, Signature
from kstep.image.symbols import Symbols
from kstep.machine.board import Board
from kstep.machine.qemu import QemuMachine
from kstep.results import layout
from kstep.results.transcript import Transcript
from kstep.session import session
from kstep.session.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from multiprocessing.context import SpawnProcess
    from multiprocessing.queues import Queue
    from pathlib import Path, PurePath
    from types import FrameType

    from kstep.build.kernel import Kernel
    from kstep.machine.hardware import Hardware
    from kstep.machine.interface import Machine
    from kstep.machine.line import Line
    from kstep.results.cell import Cell
    from kstep.session.session import Session
    from kstep.toolchain import Toolchain
    from kstep.toolchain.accel import Accel

LOOK = 0.5  # seconds between two looks at whether the workers live


@dataclass(frozen=True)
class Boot:
    """Cells that share a boot, and what they need; ``folder`` is the run's."""

    cells: tuple[Cell, ...]
    kernel: Kernel
    initramfs: Path
    sessions: Path
    folder: Path
    accel: Accel
    line: Line | None = None  # of a machine that is not ours

    def machine(self, hardware: Hardware, toolchain: Toolchain) -> Machine:
        """Return the machine that it is run on, not started."""
        if self.line is not None:
            return Board(self.line, self.kernel, hardware, toolchain)
        return QemuMachine(self.kernel, self.initramfs, hardware, toolchain, self.accel)


@dataclass(frozen=True)
class Result:
    """What a cell came to; files are relative to the run's folder.

    ``boot_seconds`` is 0 where the cell used a machine that ran already.
    """

    cell: Cell
    outcome: Outcome
    signature: Signature | None = None
    message: str = ""
    seconds: float = 0.0
    boot_seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def run(boot: Boot, toolchain: Toolchain) -> Generator[Result, None, None]:
    """Run the cells of a boot; a machine that served a cell that did not pass is not used again.

    Nor is one where the next case asks for another. A kernel that did not boot on a
    machine is not tried again on the same.
    """
    script = session.load(boot.sessions)[boot.cells[0].session]
    symbols = Symbols.load(boot.kernel.system_map)
    with ExitStack() as stack:
        machine: Machine | None = None
        unbootable: dict[Hardware, Result] = {}
        for cell in boot.cells:
            hardware = script.hardware_for(cell.case)
            if hardware in unbootable:
                message = f"not tried again: {unbootable[hardware].message}"
                yield Result(cell, Outcome.ERROR, Signature.NO_BOOT, message)
                continue
            if machine is not None and machine.hardware != hardware:
                stack.pop_all().close()
                machine = None
            result, machine = _cell(cell, machine, boot, script, symbols, toolchain, stack)
            yield result
            if result.outcome is not Outcome.PASS:
                stack.pop_all().close()
                machine = None
            if result.signature is Signature.NO_BOOT:
                unbootable[hardware] = result


def _cell(
    cell: Cell,
    machine: Machine | None,
    boot: Boot,
    script: Session,
    symbols: Symbols,
    toolchain: Toolchain,
    stack: ExitStack,
) -> tuple[Result, Machine | None]:
    place = layout.cell_folder(cell)
    (boot.folder / place).mkdir(parents=True, exist_ok=True)
    files = {"console_log": str(place / "console.log"), "trace": str(place / "trace.jsonl")}
    began = time.monotonic()
    outcome, signature, message = Outcome.PASS, None, ""
    boot_seconds = 0.0
    metrics: dict[str, float] = {}
    target: Target | None = None
    with ExitStack() as own:
        try:
            trace = own.enter_context((boot.folder / files["trace"]).open("w"))
            log = boot.folder / files["console_log"]
            if machine is None:
                hardware = script.hardware_for(cell.case)
                machine = stack.enter_context(boot.machine(hardware, toolchain))
                files |= _by_hand(machine, boot.folder, place)
                transcript = own.enter_context(Transcript(log, machine.began))
                target = Target(machine, symbols, trace, boot.folder / place)
                machine.boot(transcript)
                boot_seconds = machine.boot_seconds
            else:
                files |= _by_hand(machine, boot.folder, place)
                machine.console.transcript = own.enter_context(Transcript(log, machine.began))
                target = Target(machine, symbols, trace, boot.folder / place)
            metrics = target.metrics
            script.run(target, cell.case)
        except KernelFault as fault:
            heard = fault if target is None else target.hear_out(fault)
            outcome, signature, message = Outcome.FAIL, heard.signature, str(heard)
        except MachineryError as error:
            outcome, signature = Outcome.ERROR, error.signature
            message = "\n".join((str(error), *error.details))
        except Exception as error:  # noqa: BLE001 -- a fault of ours is no verdict, and must not end the run
            outcome, signature = Outcome.ERROR, Signature.INFRASTRUCTURE
            message = f"kstep itself failed: {type(error).__name__}: {error}"
    for log in sorted((boot.folder / place).glob("gdb*.log")):
        files[f"{log.stem.replace('-', '_')}_log"] = str(place / log.name)
    seconds = round(time.monotonic() - began, 3)
    result = Result(
        cell, outcome, signature, message, seconds, round(boot_seconds, 6), dict(metrics), files
    )
    return result, machine


def _by_hand(machine: Machine, folder: Path, place: PurePath) -> dict[str, str]:
    """Write how to boot a cell's machine by hand, if it can be; return the file by its key."""
    if not machine.by_hand:
        return {}
    script = place / layout.QEMU_SCRIPT
    (folder / script).write_text(machine.by_hand)
    (folder / script).chmod(0o755)
    return {"qemu": str(script)}


def run_all(
    boots: Sequence[Boot],
    toolchain: Toolchain,
    jobs: int,
    on_result: Callable[[Result], None],
    on_start: Callable[[Cell], None] = lambda _cell: None,
) -> None:
    """Run boots on ``jobs`` processes; each cell's result is given as it comes.

    ``on_start`` is told of each cell that is begun. Raises MachineryError where a process
    dies. Whatever ends this ends the processes, and with them their machines.
    """
    context = multiprocessing.get_context("spawn")
    with _hangup_is_ours():
        tasks: Queue[Boot | None] = context.Queue()
        results: Queue[Result | Cell] = context.Queue()
        for boot in boots:
            tasks.put(boot)
        count = min(jobs, len(boots))
        for _ in range(count):
            tasks.put(None)
        workers = [
            context.Process(target=_work, args=(tasks, results, toolchain), daemon=True)
            for _ in range(count)
        ]
        for worker in workers:
            worker.start()
    try:
        left = sum(len(boot.cells) for boot in boots)
        while left:
            heard = _hear(results, workers)
            if isinstance(heard, Result):
                on_result(heard)
                left -= 1
            elif heard is not None:
                on_start(heard)
        for worker in workers:
            worker.join()
    finally:
        tasks.cancel_join_thread()
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
        toolchain.end_orphans()


@contextlib.contextmanager
def _hangup_is_ours() -> Generator[None]:
    """Have what is started in the block ignore SIGHUP, multiprocessing's own helper with it.

    A closed window tells every process of it; this one decides, and terminates the others.
    """
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _hear(results: Queue[Result | Cell], workers: Sequence[SpawnProcess]) -> Result | Cell | None:
    """Return a result, or a cell that was begun; None where nothing was said for a while."""
    try:
        return results.get(timeout=LOOK)
    except queue.Empty:
        dead = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0)]
        if dead or not any(worker.is_alive() for worker in workers):
            raise MachineryError(f"a worker process died (status {dead})") from None
        return None


def _work(
    tasks: Queue[Boot | None],
    results: Queue[Result | Cell],
    toolchain: Toolchain,
) -> None:
    # Ctrl-C reaches every process of the terminal; the parent decides, and terminates.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    parent = multiprocessing.parent_process()
    with contextlib.suppress(SystemExit):
        while (boot := tasks.get()) is not None:
            results.put(boot.cells[0])
            for result, following in zip(
                run(boot, toolchain), (*boot.cells[1:], None), strict=True
            ):
                results.put(result)
                if following is not None:
                    results.put(following)
                if parent is not None and not parent.is_alive():
                    return


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)
