# SPDX-License-Identifier: GPL-2.0-only
"""Steps per second in several ways, and what a step costs on a long walk."""

from __future__ import annotations

import os
import resource
import statistics
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.image.symbols import Symbols
from kstep.machine.hardware import Hardware
from kstep.results.transcript import Transcript
from kstep.session.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kstep.base.progress import Progress
    from kstep.build.kernel import Kernel
    from kstep.console.gdb import Gdb
    from kstep.machine.interface import Machine
    from kstep.run.preparation import Prepared

ROUNDS = 10
STEPS = 100  # per round and kind of stepping
GDB_STEPS = 20  # per round of gdb, which makes about fifty a second on the serial line
WALKS = (100, 1000, 10_000, 100_000)  # steps of each
PIECE = 1000  # steps from each stop; one of WALKS
FUNCTION, TRIGGER = "meminfo_proc_show", "cat /proc/meminfo"  # a path of many thousand steps


@dataclass(frozen=True)
class Walks:
    """What long walks cost.

    ``growth`` is the seconds of a step on walks of so many; ``long_over_short`` what a step takes
    in a guest in which all of them were walked, against one in a new guest, in turns;
    ``megabytes`` the memory that kstep has needed beyond that of the walk of PIECE.
    """

    growth: dict[int, float]
    long_over_short: float
    megabytes: float


@contextmanager
def booted(prepared: Prepared, kernel: Kernel) -> Iterator[tuple[Machine, Target]]:
    """Boot a kernel, whose transcript and trace are written as ever, but kept nowhere."""
    with (
        prepared.machine(kernel, Hardware()) as machine,
        Transcript(Path(os.devnull), machine.began) as log,
        Path(os.devnull).open("w", encoding="ascii") as trace,
    ):
        machine.boot(log)
        yield machine, Target(machine, Symbols.load(kernel.system_map), trace)


@contextmanager
def stopped(target: Target) -> Iterator[None]:
    """Stop on the path that is stepped, without a breakpoint that is set; then let it go on.

    kgdb would write that at each step, and QEMU translate the code anew.
    """
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint(FUNCTION)
    with target.running(TRIGGER):
        target.expect_breakpoint(stop_here)
        kdb.clear(stop_here)
        yield
        target.go()


def walks(prepared: Prepared, kernel: Kernel, progress: Progress) -> Walks:
    """Step and judge as many times as WALKS has; compare a guest after that with a new one.

    Each thousand steps are those of the same path, so that only what went before differs.
    """
    growth: dict[int, float] = {}
    memory: dict[int, float] = {}
    with (
        booted(prepared, kernel) as (_, target),
        progress.task("a long walk", sum(WALKS), "steps") as shown,
    ):
        for count in WALKS:
            pieces = []
            for before in range(0, count, PIECE):
                piece = min(PIECE, count - before)
                pieces.append(_walk(target, piece))
                shown.advance(piece)
            growth[count] = statistics.mean(pieces)
            memory[count] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with booted(prepared, kernel) as (_, fresh):
            pairs = [(_walk(target, PIECE), _walk(fresh, PIECE)) for _ in range(ROUNDS)]
    ratio = statistics.median(long / short for long, short in pairs)
    return Walks(growth, ratio, memory[max(WALKS)] - memory[PIECE])


def _walk(target: Target, count: int) -> float:
    """Return the seconds a step of the first steps of the path, judged."""
    with target.stopped_at(FUNCTION, TRIGGER) as stop:
        stop.clear()
        began = time.perf_counter()
        for step in target.steps_to_a_return(count):
            step.must_follow_program_order()
            step.must_make_progress()
        return (time.perf_counter() - began) / step.number


def rates(prepared: Prepared, kernel: Kernel) -> dict[str, float]:
    """Return how many steps a second one kernel makes in several ways, measured in turns.

    ``plain`` only reads and writes the pty; ``driver`` adds the kdb driver with its deadlines,
    the transcript and the parsing of stops; ``judged`` adds the oracle and the trace. ``gdb`` and
    ``gdbstub`` are gdb's ``stepi``, with kgdb on the serial line and with QEMU's gdbstub.
    """
    with booted(prepared, kernel) as (machine, target):
        with stopped(target):
            kinds: dict[str, Callable[[], object]] = {
                "plain": lambda: _plain(machine.serial),
                "driver": lambda: [target.step_unjudged() for _ in range(STEPS)],
                "judged": lambda: _judged(target),
            }
            seconds: dict[str, list[float]] = {name: [] for name in kinds}
            for _ in range(ROUNDS):
                for name, step in kinds.items():
                    began = time.perf_counter()
                    step()
                    seconds[name].append(time.perf_counter() - began)
            with target.in_gdb() as gdb:
                on_the_line = _by_gdb(gdb)
        with target.in_gdbstub(0x7) as gdb:
            stop_here = gdb.breakpoint(FUNCTION)
            with target.running(TRIGGER):
                gdb.resume()
                target.expect_breakpoint_in_gdb(gdb, stop_here)
                on_the_stub = _by_gdb(gdb)
                gdb.clear(stop_here)
                gdb.resume()
    found = {name: STEPS / statistics.median(taken) for name, taken in seconds.items()}
    return found | {"gdb": on_the_line, "gdbstub": on_the_stub}


def _by_gdb(gdb: Gdb) -> float:
    """Return how many steps a second gdb makes from the current stop."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(GDB_STEPS):
            gdb.step_instruction()
        seconds.append(time.perf_counter() - began)
    return GDB_STEPS / statistics.median(seconds)


def _judged(target: Target) -> None:
    for step in target.steps(STEPS):
        step.must_follow_program_order()


def _plain(line: int) -> None:
    """Step with only reads and writes, at the speed of the pty and the guest."""
    for _ in range(STEPS):
        os.write(line, b"ss\r")
        heard = b""
        while not heard.endswith(b"kdb> "):
            heard += os.read(line, 65536)
