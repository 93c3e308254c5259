# SPDX-License-Identifier: GPL-2.0-only
"""The main job: runs a request, from the build to the record and its reports."""

from __future__ import annotations

import functools
import os
import platform
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kstep import __version__, report
from kstep.base import temporary
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome
from kstep.build import kconfig
from kstep.build.kernel import Kernel
from kstep.image import debuginfo as lines
from kstep.report.live import so_far
from kstep.report.soak import rates_so_far
from kstep.results import layout
from kstep.results.cell import CellRecord
from kstep.results.provenance import (
    KernelRecord,
    LeftOut,
    PatchRecord,
    RunRecord,
    SeriesPatch,
    SeriesRecord,
    SessionRecord,
    ToolchainRecord,
    TreeRecord,
)
from kstep.results.record import Record, hold, load
from kstep.run import plan, skip
from kstep.run.boot import Boot, Result
from kstep.run.building import build_here
from kstep.run.preparation import prepare
from kstep.run.request import require_new
from kstep.run.resumption import without_verdict
from kstep.run.silence import Silence
from kstep.toolchain import reaper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.text import Text

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress, Task
    from kstep.machine.line import Line
    from kstep.results.cell import Cell
    from kstep.results.request import Asked
    from kstep.results.setup import Setup
    from kstep.run.building import Built, Family
    from kstep.run.preparation import Prepared
    from kstep.run.request import Request
    from kstep.run.scheduler import Scheduler
    from kstep.run.soak import Soak
    from kstep.session.session import Session
    from kstep.source.series import Series
    from kstep.toolchain.accel import Accel


def _require_one_kernel(asked: Request, line: Line) -> None:
    """Raise RequestError unless the request names the one kernel that an external machine runs."""
    cells = {cell.column for cell in asked.cells}
    if len(cells) != 1 or not asked.chosen:
        raise RequestError(
            f"--machine {line.spec}: kstep does not choose what an external machine boots; name the"
            " one kernel that it runs, such as --variants v6/1+2, with one --tree and one --kconfig"
            " (and --compiler and --suite, if given)"
        )
    line.require()


class Verification:
    """Runs a request; ``folder`` is that of the run, which must not exist yet.

    To ``resume`` a run, the folder must exist and the inputs must be unchanged; then the cells
    that have no verdict are run. ``line`` is the serial line of an external machine, unless
    kstep starts the machines. ``build`` builds the kernels, where ``scheduler`` runs them.
    ``soak`` repeats each cell as often as it wants, instead of once.

    After run(), ``interrupted`` is whether it was, and ``to_come`` are the cells that it should
    have run and did not.
    """

    def __init__(
        self,
        asked: Request,
        *,
        folder: Path,
        toolchain_kind: str,
        accel_kind: str,
        scheduler: Scheduler,
        argv: Sequence[str],
        typed: Asked | None = None,
        cache: Cache,
        progress: Progress,
        line: Line | None = None,
        resume: bool = False,
        build: Callable[[Sequence[Family]], list[Built]] = build_here,
        soak: Soak | None = None,
    ) -> None:
        if not resume:
            require_new(folder)
        if line is not None:
            _require_one_kernel(asked, line)
        self.line = line
        self.asked = asked
        self.folder = folder
        self.toolchain_kind = toolchain_kind
        self.accel_kind = accel_kind
        self.scheduler = scheduler
        self.argv = tuple(argv)
        self.typed = typed
        self.cache = cache
        self.progress = progress
        self.resume = resume
        self.build = build
        self.soak = soak
        self.interrupted = False
        self.to_come: set[Cell] = set()
        self._silence = Silence()

    def run(self) -> Record:
        """Build, boot, run, record; returns the record, after writing its reports.

        Ctrl-C while cells run ends the machines; the record has the results so far.
        """
        with ExitStack() as stack:
            former = None
            if self.resume:
                stack.enter_context(hold(self.folder))
                former = load(self.folder)
            return self._run(former, stack)

    def _run(self, former: Record | None, stack: ExitStack) -> Record:
        started, began = datetime.now(UTC).astimezone(), time.monotonic()
        prepared = prepare(
            self.asked,
            self.toolchain_kind,
            self.cache,
            self.progress,
            self.accel_kind,
            None if former is None else former.inputs,
            build=self.build,
        )
        not_run = skip.skipped(
            self.asked.cells,
            self.asked.sessions,
            prepared.built,
            skip.offer(self.line, prepared.accel),
            self.asked.root / kconfig.FOLDER,
        )
        for why in dict.fromkeys(not_run.values()):
            self.progress.say(f"skipped: {why}")
        told = dict.fromkeys(LeftOut(cell.tree, cell.variant, why) for cell, why in not_run.items())
        left_out = (*prepared.left_out, *told)
        if former is None:
            self.folder.mkdir(parents=True)
            stack.enter_context(hold(self.folder))
            record = self._open(started, began, prepared, left_out)
        else:
            record = former
        known = {each.id for each in record.trees}  # a run that was cut off may lack some
        for each in prepared.trees:
            if each.id not in known:
                record.add_tree(TreeRecord(each.id, each.version, each.sha256))
        self._record_kernels(record, prepared.built)
        if former is not None:
            self._go_on(record, started)
        run_by = _run_by(prepared.built)
        cells = [c for c in self.asked.cells if c not in not_run and _kernel_of(c) in run_by]
        rounds: Iterable[list[Cell]] = [without_verdict(cells, record)]
        if self.soak is not None:
            rounds = self.soak.rounds(record, cells)
        try:
            self._run_rounds(record, prepared, rounds, run_by)
            self._keep_lines(record, prepared)
        except KeyboardInterrupt:
            self.interrupted = True
        record.write()
        report.write(record)
        return record

    def _go_on(self, record: Record, started: datetime) -> None:
        """Note in the record that the run is resumed, and when."""
        before = record.run.host.get("resumed")
        again = [
            *(before if isinstance(before, list) else ()),
            started.isoformat(timespec="seconds"),
        ]
        record.run = replace(record.run, host={**record.run.host, "resumed": again})
        if record.run.host.get("system") == platform.platform():
            for each in record.cells:
                if each.boot_seconds:
                    hardware = self._script(each.cell).hardware_for(each.cell.case)
                    self._silence.take(each.cell, hardware, each.boot_seconds)
        temporary.sweep([self.folder])
        reaper.also(self.folder.absolute())
        record.write()
        judged = sum(each.outcome is not Outcome.ERROR for each in record.cells)
        without = len(record.cells) - judged
        self.progress.say(
            f"{self.folder} resumed: {judged} cells have a verdict"
            + (f"; {without} that ended without one are run again" if without else "")
        )

    def _open(
        self,
        started: datetime,
        began: float,
        prepared: Prepared,
        left_out: Iterable[LeftOut],
    ) -> Record:
        """Open the record of a new run; ``began`` is monotonic, because the clock may be set."""
        toolchains = _toolchains(prepared)
        record = Record(
            self.folder,
            RunRecord(
                id=self.folder.name,
                started=started.isoformat(timespec="seconds"),
                seconds=time.monotonic() - began,
                argv=self.argv,
                kstep_version=__version__,
                host={
                    "system": platform.platform(),
                    "machine": platform.machine(),
                    "cpus": os.cpu_count() or 0,
                    "python": platform.python_version(),
                    "accel": prepared.accel,
                    **({} if self.line is None else {"line": self.line.spec}),
                    **({} if prepared.host is None else {"emulated_host": prepared.host.described}),
                    "busybox": prepared.initramfs.busybox_version,
                    "busybox_sha256": prepared.initramfs.busybox_sha256,
                    "initramfs_sha256": prepared.initramfs.sha256,
                },
            ),
            toolchains[0],
            toolchains=toolchains,
            request=self.typed,
            inputs=prepared.inputs,
            series=map(_series_record, self.asked.series),
            left_out=left_out,
            sessions=(
                SessionRecord(
                    each.name, each.claim, each.text, self._file_of(each), each.line, each.area
                )
                for each in self.asked.sessions
            ),
        )
        reaper.also(self.folder.absolute())
        record.write()
        return record

    def _script(self, cell: Cell) -> Session:
        return next(each for each in self.asked.sessions if each.name == cell.session)

    def _record_kernels(self, record: Record, built: Iterable[Built]) -> None:
        """Record every variant's kernel, except those that a resumed run already has.

        A kernel whose image equals that of another variant names that variant.
        """
        there = {each.column for each in record.kernels}
        images: dict[tuple[Setup, str], str] = {}
        for each in built:
            if isinstance(each.kernel, MachineryError):
                continue
            kernel = each.kernel
            key = (each.setup, kernel.image_sha256)
            for variant, sources in each.variants:
                if f"{each.setup.name}/{variant.name}" in there:
                    images.setdefault(key, variant.name)
                    continue
                record.add_kernel(
                    KernelRecord(
                        tree=each.tree.id,
                        kconfig=each.kconfig.name,
                        variant=variant.name,
                        image_sha256=kernel.image_sha256,
                        vmlinux_sha256=kernel.vmlinux_sha256,
                        config_sha256=kernel.config_sha256,
                        patches=tuple(
                            PatchRecord(name, patch.sha256, sources.actions[name], patch.port)
                            for name, patch in sources.patches.items()
                        ),
                        cached=kernel.cached,
                        same_as=images.get(key),
                        build_seconds=kernel.build_seconds,
                        objects_compiled=kernel.objects_compiled,
                        compiler=each.compiler,
                        suite=each.suite,
                    )
                )
                images.setdefault(key, variant.name)

    def _run_rounds(
        self,
        record: Record,
        prepared: Prepared,
        rounds: Iterable[list[Cell]],
        run_by: Mapping[tuple[Setup, str], str],
    ) -> None:
        """Run the cells of each round, on the kernel that stands for their variant."""
        many = None
        if self.soak is None:
            rounds = list(rounds)
            many = len({_run_as(cell, run_by) for cells in rounds for cell in cells})
        with self.progress.task("cells", many, "cells") as task:
            for cells in rounds:
                self.to_come.update(cells)
                self._run_cells(
                    record, prepared, dict.fromkeys(_run_as(cell, run_by) for cell in cells), task
                )

    def _run_cells(
        self, record: Record, prepared: Prepared, cells: Iterable[Cell], task: Task
    ) -> None:
        """Run cells on their kernels, once for all variants that a kernel stands for."""
        wanted: dict[tuple[Setup, str], list[Cell]] = defaultdict(list)
        for cell in cells:
            wanted[_kernel_of(cell)].append(cell)
        kernels = {(each.setup, each.first): each for each in prepared.built}
        boots: dict[str, list[Boot]] = defaultdict(list)  # by suite
        for key, built in kernels.items():
            if isinstance(built.kernel, MachineryError):
                message = "\n".join((str(built.kernel), *built.kernel.details))
                for cell in wanted[key]:
                    result = Result(cell, Outcome.ERROR, built.kernel.signature, message)
                    self._keep(record, result, built.names, prepared.accel)
                    task.advance()
            else:
                boots[built.suite] += self._boots(built, wanted[key], prepared)

        def on_start(cell: Cell) -> None:
            task.begin(_called(cell))

        def on_result(result: Result) -> None:
            name = _called(result.cell)
            hardware = self._script(result.cell).hardware_for(result.cell.case)
            for known in self._silence.judge(result, hardware):
                names = kernels[_kernel_of(known.cell)].names
                self._keep(record, known, names, prepared.accel)
            task.end(name)
            task.advance(note=f"{name}: {result.signature or 'pass'}")
            task.show(functools.partial(self._so_far, record))

        folder = self.folder.absolute()
        # One session on all kernels before the next: a patch has its first result soon.
        order = {each.name: number for number, each in enumerate(self.asked.sessions)}
        for suite, group in boots.items():
            group.sort(key=lambda boot: (boot.cells[0].repeat, order[boot.cells[0].session]))
            tools = prepared.tools_of(suite).toolchain
            self.scheduler.run(group, tools, folder, on_start, on_result)

    def _so_far(self, record: Record, width: int, height: int) -> Text:
        if self.soak is None:
            return so_far(record, width, height)
        return rates_so_far(record, self.soak.half_width, width, height)

    def _boots(self, built: Built, cells: Iterable[Cell], prepared: Prepared) -> list[Boot]:
        scripts = {each.name: each for each in self.asked.sessions}
        return [
            Boot(
                cells=group,
                kernel=built.require(),
                initramfs=prepared.tools_of(built.suite).initramfs.path,
                sessions=self.asked.root / "tests/sessions",
                accel=prepared.accel,
                line=self.line,
                host=prepared.host,
                own=scripts[group[0].session].own_file,
            )
            for group in plan.boots(cells)
        ]

    def _keep(self, record: Record, result: Result, variants: Sequence[str], accel: Accel) -> None:
        """Record a result for every variant that the kernel stands for."""
        cell = result.cell
        script = self._script(cell)
        version = next(each.version for each in record.trees if each.id == cell.tree)
        debian = record.toolchain_of(cell.setup).debian
        files = {**result.files, "session": self._file_of(script)}
        if "trace" in files:
            files["lines"] = layout.lines_file(cell.setup, cell.variant)
        for variant in variants:
            own = replace(cell, variant=variant)
            record.add(
                CellRecord(
                    cell=own,
                    outcome=result.outcome,
                    signature=result.signature,
                    expected=self.asked.expectations.of(own, version, debian, accel),
                    message=result.message,
                    seconds=result.seconds,
                    boot_seconds=result.boot_seconds,
                    metrics=result.metrics,
                    files=files,
                    held=self.asked.is_held(own),
                    died_at_boot=result.died_at_boot,
                    earlier=result.earlier,
                )
            )
            self.to_come.discard(own)

    def _keep_lines(self, record: Record, prepared: Prepared) -> None:
        """Keep, for each kernel that was stepped, the source lines of its steps."""
        traces: dict[str, list[Path]] = defaultdict(list)
        for each in record.cells:
            if (trace := record.path(each, "trace")) is not None:
                traces[each.files["lines"]].append(trace)
        with self.progress.task("source lines", len(prepared.built), "kernels") as task:
            for built in prepared.built:
                file = layout.lines_file(built.setup, built.first)
                if isinstance(built.kernel, Kernel):
                    into = self.folder / file
                    tools = prepared.tools_of(built.suite).toolchain
                    lines.keep(built.kernel, traces[file], into, tools)
                task.advance(note=built.first)

    def _file_of(self, script: Session) -> str:
        return str(script.file if script.own else script.file.relative_to(self.asked.root))


def _series_record(series: Series) -> SeriesRecord:
    return SeriesRecord(
        series.name,
        series.subject,
        series.cover,
        tuple(
            SeriesPatch(
                each.id, each.subject, {form.port or "": form.changes for form in each.forms}
            )
            for each in series.patches
        ),
    )


def _toolchains(prepared: Prepared) -> list[ToolchainRecord]:
    return [
        ToolchainRecord(
            kind=tools.toolchain.kind,
            image_digest=tools.toolchain.image_digest,
            gcc=versions.cc,
            qemu=versions.emulator,
            gdb=versions.gdb,
            compiler=name,
            suite=tools.suite,
            debian=tools.toolchain.debian,
        )
        for tools in prepared.tools
        for name, versions in tools.versions.items()
    ]


def _kernel_of(cell: Cell) -> tuple[Setup, str]:
    return cell.setup, cell.variant


def _run_by(built: Iterable[Built]) -> Mapping[tuple[Setup, str], str]:
    """Return, for each kernel of the run, the variant whose cells are run for it."""
    return {(each.setup, name): each.first for each in built for name in each.names}


def _run_as(cell: Cell, run_by: Mapping[tuple[Setup, str], str]) -> Cell:
    return replace(cell, variant=run_by[_kernel_of(cell)])


def _called(cell: Cell) -> str:
    """Name a cell in the progress display, without the tree and the configuration."""
    return f"{cell.variant} {cell.name}"
