# SPDX-License-Identifier: GPL-2.0-only
"""Measurements of kstep itself, as ratios within one run, because hosts are noisy."""

from __future__ import annotations

import os
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kstep import report
from kstep.base import temporary
from kstep.base.outcome import Outcome
from kstep.image.symbols import Symbols
from kstep.machine.hardware import Hardware
from kstep.results.cell import BASE, Cell, CellRecord
from kstep.results.provenance import RunRecord, ToolchainRecord
from kstep.results.record import SHARE, Record
from kstep.results.transcript import Transcript
from kstep.session.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kstep.base.progress import Progress
    from kstep.build.kernel import Kernel
    from kstep.console.gdb import Gdb
    from kstep.run.building import Built
    from kstep.run.preparation import Prepared

ROUNDS = 10
STEPS = 100  # per round and kind of stepping
GDB_STEPS = 20  # per round of gdb, which makes about fifty a second on the serial line
PATHS = (1000, 100_000)  # steps of a short walk and of a long one
RUNS = (100, 100_000)  # cells of a short run and of a long one
REPORTED = 10_000  # cells of a run whose reports are drawn
SESSIONS = 30
FURTHER = 20  # cells that are added to a run to see what one costs
FUNCTION, TRIGGER = "meminfo_proc_show", "cat /proc/meminfo"  # a path of many thousand steps
MOST = 5000  # steps of it at a time: its last ones read a clock, which the tick writes meanwhile


@dataclass(frozen=True)
class Figure:
    """A measured value and its bound, which is a minimum if ``least``, else a maximum."""

    value: float
    bound: float
    least: bool

    @property
    def met(self) -> bool:
        """Whether the value is within its bound."""
        return self.value >= self.bound if self.least else self.value <= self.bound

    def to_json(self) -> dict[str, Any]:
        """Return the figure as bench.json stores it."""
        return {"value": round(self.value, 4), "bound": self.bound, "met": self.met}


@dataclass(frozen=True)
class Bench:
    """All figures, and what the ratios were made of.

    ``rates`` are in steps per second; ``growth`` has what a quantity, in seconds, is at each size.
    """

    figures: dict[str, Figure]
    rates: dict[str, float]
    growth: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Return the content of bench.json."""
        figures = {name: figure.to_json() for name, figure in self.figures.items()}
        return {"figures": figures, "growth": self.growth, "rates": self.rates}


def measure(prepared: Prepared, progress: Progress) -> Bench:
    """Step one kernel in three ways, in turns, and compare the builds of all variants.

    ``plain`` only reads and writes the pty; ``driver`` adds the kdb driver with its deadlines,
    the transcript and the parsing of stops; ``judged`` adds the oracle and the trace. Then gdb's
    ``stepi``, with kgdb on the serial line and with QEMU's gdbstub. And what it
    costs to take one more step on a short walk and on a long one, to record one more cell in a
    short run and in a long one, and to draw the reports of a long run.
    """
    kernels = [each.require() for each in prepared.built]
    kernel = _whole(prepared.built).require()
    with progress.task("steps of each kind"):
        rates = _rates(prepared, kernel)
    figures = {
        "driver_over_plain": Figure(rates["driver"] / rates["plain"], 0.97, least=True),
        "judged_over_plain": Figure(rates["judged"] / rates["plain"], 0.9, least=True),
        "judged_over_gdb": Figure(rates["judged"] / rates["gdb"], 22, least=True),
    }
    *variants, full = sorted(kernel.build_seconds for kernel in kernels)
    if variants:
        name = "slowest_variant_over_full_build"
        figures[name] = Figure(variants[-1] / full, 0.03, least=False)
    walked = _walked(prepared, kernel, progress)
    short_walk, long_walk = walked.values()
    figures["step_of_a_long_walk_over_a_short_one"] = Figure(
        long_walk.seconds / short_walk.seconds, 1.05, least=False
    )
    figures["megabytes_more_on_a_long_walk"] = Figure(
        long_walk.megabytes - short_walk.megabytes, 30, least=False
    )
    with progress.task("cells of long runs"):
        further = {str(count): further_cell(count) for count in RUNS}
        drawn = reports(REPORTED)
    short, long = further.values()
    figures["further_cell_in_a_long_run_over_a_short_one"] = Figure(long / short, 1.1, least=False)
    figures["seconds_of_reports_of_10000_cells"] = Figure(drawn, 10, least=False)
    growth = {
        "step": {str(size): round(each.seconds, 6) for size, each in walked.items()},
        "further_cell": {size: round(cost, 6) for size, cost in further.items()},
    }
    return Bench(figures, {name: round(rate, 1) for name, rate in rates.items()}, growth)


def _whole(built: Sequence[Built]) -> Built:
    """Return the kernel with the most patches: a step of the others may end in an interrupt."""
    return max(built, key=lambda each: max(len(one.members) for one, _ in each.variants))


def further_cell(count: int) -> float:
    """Return the seconds that it takes to record one more cell in a run that has ``count``.

    That is a line of the journal, and the cell's share of writing results.json, which is done
    when the run has grown by a quarter.
    """
    with temporary.folder() as folder:
        record = _run(Path(folder), count)
        began = time.perf_counter()
        record.write()
        share = (time.perf_counter() - began) / (count // SHARE)
        seconds = []
        for number in range(1, count // SHARE)[:FURTHER]:
            further = _cell(count + number)
            began = time.perf_counter()
            record.add(further)
            seconds.append(time.perf_counter() - began)
    return min(seconds) + share  # the least, because other programs use the disk too


def reports(count: int) -> float:
    """Return the seconds that it takes to draw all reports of a run of ``count`` cells."""
    with temporary.folder() as folder:
        record = _run(Path(folder), count)
        began = time.perf_counter()
        report.write(record)
        return time.perf_counter() - began


def _run(folder: Path, count: int) -> Record:
    return Record(
        folder,
        RunRecord("", "", 0.0, (), "", {}),
        ToolchainRecord("host", None, "", "", ""),
        cells=map(_cell, range(1, count + 1)),
    )


def _cell(number: int) -> CellRecord:
    return CellRecord(
        Cell("debian:6.1", "base", BASE, f"session-{number % SESSIONS}", "case", number),
        Outcome.PASS,
        None,
        None,
        "",
        seconds=1.5,
        boot_seconds=2.0,
        metrics={"steps": 300, "in_order": 300, "off_order": 0, "steps_per_second": 700.5},
        files={"console_log": "cells/a/console.log", "trace": "cells/a/trace.jsonl"},
    )


@dataclass(frozen=True)
class Walked:
    """What a walk took: ``seconds`` a step, and the most memory that kstep has had until then."""

    seconds: float
    megabytes: float


def _walked(prepared: Prepared, kernel: Kernel, progress: Progress) -> dict[int, Walked]:
    """Step and judge as many times as PATHS has; return what each took."""
    found: dict[int, Walked] = {}
    with (
        prepared.machine(kernel, Hardware()) as machine,
        Transcript(Path(os.devnull), machine.began) as log,
        Path(os.devnull).open("w", encoding="ascii") as trace,
        progress.task("a long walk", sum(PATHS), "steps") as shown,
    ):
        machine.boot(log)
        target = Target(machine, Symbols.load(kernel.system_map), trace)
        for count in PATHS:
            taken, seconds = 0, 0.0
            while taken < count:
                before = taken
                with target.stopped_at(FUNCTION, TRIGGER) as stop:
                    stop.clear()
                    began = time.perf_counter()
                    for step in target.steps_to_a_return(min(MOST, count - taken)):
                        step.must_follow_program_order()
                        step.must_make_progress()
                        taken += 1
                    seconds += time.perf_counter() - began
                shown.advance(taken - before)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            found[count] = Walked(seconds / taken, most / 1024)
    return found


def _rates(prepared: Prepared, kernel: Kernel) -> dict[str, float]:
    with (
        prepared.machine(kernel, Hardware()) as machine,
        Transcript(Path(os.devnull), machine.began) as log,
        Path(os.devnull).open("w", encoding="ascii") as trace,
    ):
        machine.boot(log)
        target = Target(machine, Symbols.load(kernel.system_map), trace)
        with target.in_kdb() as kdb:
            stop_here = kdb.breakpoint(FUNCTION)
        with target.running(TRIGGER):
            target.expect_breakpoint(stop_here)
            kdb.clear(stop_here)  # kgdb would write it at each step, and QEMU translate anew
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
            target.go()
        with target.in_gdbstub(0x7) as gdb:
            stop_here = gdb.breakpoint(FUNCTION)
            with target.running(TRIGGER):
                gdb.resume()
                target.expect_breakpoint_in_gdb(gdb, stop_here)
                on_the_stub = _by_gdb(gdb)
                gdb.clear(stop_here)
                gdb.resume()
    rates = {name: STEPS / statistics.median(taken) for name, taken in seconds.items()}
    return rates | {"gdb": on_the_line, "gdbstub": on_the_stub}


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
