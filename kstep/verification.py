# SPDX-License-Identifier: GPL-2.0-only
"""The main job: from a request to a record, by way of trees, kernels and cells."""

from __future__ import annotations

import itertools
import os
import platform
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from kstep import (
    __version__,
    accel,
    arrangement,
    expectation,
    initramfs,
    kconfig,
    lines,
    matrix,
    plan,
    report,
    runner,
    series,
    session,
    toolchain,
    tree,
)
from kstep.arrangement import Action
from kstep.board import lacks
from kstep.document import nearest
from kstep.errors import MachineryError, RequestError
from kstep.kernel import Builder, Kernel
from kstep.outcome import Outcome
from kstep.record import (
    CellRecord,
    KernelRecord,
    LeftOut,
    PatchRecord,
    Record,
    RunRecord,
    SessionRecord,
    ToolchainRecord,
    TreeRecord,
)
from kstep.runner import Boot, Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from kstep.arrangement import Arrangement
    from kstep.board import Line
    from kstep.cache import Cache
    from kstep.expectation import Expectations
    from kstep.initramfs import Initramfs
    from kstep.kconfig import Kconfig
    from kstep.matrix import Variant
    from kstep.plan import Cell
    from kstep.progress import Progress
    from kstep.series import Series
    from kstep.session import Session
    from kstep.toolchain import Toolchain, Versions
    from kstep.tree import Tree


MOST_REPEATS = 10_000  # of a cell: at some seconds each, a day


@dataclass(frozen=True)
class Request:
    """What was asked for, each part found to exist; nothing has been fetched or built."""

    root: Path
    series: tuple[Series, ...]
    trees: tuple[tree.Request, ...]
    kconfigs: tuple[kconfig.Request, ...]
    variants: tuple[Variant, ...]
    chosen: bool  # whether the variants were named one by one
    sessions: tuple[Session, ...]
    expectations: Expectations
    repeats: int

    @cached_property
    def _undescribed(self) -> frozenset[str]:
        return frozenset(each.name for each in self.series if not expectation.describes(each))

    def is_held(self, cell: Cell) -> bool:
        """Whether a cell is held against ``none``, as nobody said what to expect of its series.

        ``none`` itself is the measure where that is so of every series.
        """
        name = matrix.parse(cell.variant, self.series).series
        return name in self._undescribed if name else len(self._undescribed) == len(self.series)

    @property
    def plan(self) -> Iterator[Cell]:
        """The cells, but for those whose kernel surely lacks what their session needs."""
        lacking = {
            (script.name, config.name)
            for script, config in itertools.product(self.sessions, self.kconfigs)
            if any(map(config.surely_lacks, script.needs))
        }
        return (cell for cell in self.cells if (cell.session, cell.kconfig) not in lacking)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell that is asked for."""
        return plan.cells(
            [each.id for each in self.trees],
            [each.name for each in self.kconfigs],
            [each.name for each in self.variants],
            self.sessions,
            self.repeats,
        )


def request(
    root: Path,
    *,
    series_specs: Sequence[str],
    tree_specs: Sequence[str],
    kconfig_names: Sequence[str] = (kconfig.BASE,),
    variant_names: Sequence[str] = (),
    matrix_name: str = "",
    session_names: Sequence[str] = (),
    repeats: int = 1,
) -> Request:
    """Look everything up; raises RequestError for what is not there or not right."""
    if not 1 <= repeats <= MOST_REPEATS:
        raise RequestError(f"--repeat {repeats}: it is 1 to {MOST_REPEATS}")
    series_list = tuple(series.load(spec, root) for spec in series_specs)
    _require_some("--series", series_specs)
    _require_distinct("--series", series_specs)
    for one, other in itertools.combinations(series_list, 2):
        if one.name == other.name:
            raise RequestError(
                f"--series: two are called {one.name};"
                " give one another name (./inv series.add --name)"
            )
    found = session.load(root / "tests/sessions")
    for name in session_names:
        if name not in found:
            raise RequestError(f'session "{name}" does not exist; {nearest(name, found)}')
    _require_distinct("--sessions", session_names)
    if variant_names and matrix_name:
        raise RequestError("--matrix and --variants both say which variants; leave one out")
    variants = [matrix.parse(name, series_list) for name in variant_names]
    _require_distinct("--variants", [each.name for each in variants])
    kconfigs = tuple(kconfig.load(name, root / kconfig.FOLDER) for name in kconfig_names)
    _require_some("--kconfig", kconfig_names)
    _require_distinct("--kconfig", [each.name for each in kconfigs])
    trees = tuple(tree.parse(spec) for spec in tree_specs)
    _require_some("--tree", tree_specs)
    _require_distinct("--tree", [each.id for each in trees])
    asked = Request(
        root=root,
        series=series_list,
        trees=trees,
        kconfigs=kconfigs,
        variants=tuple(variants or matrix.variants(series_list, matrix_name or "each")),
        chosen=bool(variants),
        sessions=tuple(
            found[name]
            for name in session_names or [n for n, each in found.items() if not each.unsettled]
        ),
        expectations=expectation.load(series_list, found),
        repeats=repeats,
    )
    for cell in asked.cells:
        asked.expectations.of(cell, None)
    kconfig.require_some(
        {each.name: each.needs for each in asked.sessions}, kconfigs, root / kconfig.FOLDER
    )
    return asked


def _require_some(option: str, names: Sequence[str]) -> None:
    if not names:
        raise RequestError(f"{option}: nothing is named; name one, or leave the option out")


def _require_distinct(option: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RequestError(f"{option}: {name} is named twice; name it once")
        seen.add(name)


def require_new(folder: Path) -> None:
    """Raise where a run's folder is there, or cannot be made once all is built."""
    if folder.exists():
        raise RequestError(f"--out {folder}: it exists; name a new folder")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    try:
        with TemporaryDirectory(prefix=".kstep-", dir=above):
            pass
    except OSError as error:
        reason = f"{above} is no folder to write into: {error.strerror}"
        raise RequestError(f"--out {folder}: {reason}") from error


@dataclass(frozen=True)
class Built:
    """One kernel of a run: which variants it stands for, or why it could not be built."""

    tree: Tree
    kconfig: Kconfig
    variants: tuple[tuple[Variant, Arrangement], ...]
    kernel: Kernel | MachineryError

    @property
    def first(self) -> str:
        """The variant that runs; the others have the same sources."""
        return self.variants[0][0].name

    @cached_property
    def _options(self) -> Mapping[str, str]:
        """What it was built with, or was to be."""
        if isinstance(self.kernel, MachineryError):
            return self.kconfig.options
        return kconfig.parse(self.kernel.config)

    def lacking(self, script: Session) -> str | None:
        """Return an option that a session needs and the kernel has not; None where it has all."""
        return kconfig.lacking(script.needs, self._options)


@dataclass(frozen=True)
class Prepared:
    """All that boots need: fetched, built, at hand."""

    toolchain: Toolchain
    versions: Versions
    trees: tuple[Tree, ...]
    initramfs: Initramfs
    built: tuple[Built, ...]
    left_out: tuple[LeftOut, ...] = ()


def prepare(
    asked: Request,
    toolchain_kind: str,
    cache: Cache,
    progress: Progress,
    accel_kind: str = "auto",
) -> Prepared:
    """Get the toolchain, the trees, the guest and the kernels of a request.

    Raises RequestError for a patch that does not apply, before anything is built;
    MachineryError where nothing can be run at all. A kernel that cannot be built stands
    as its error in ``built``.
    """
    chosen = accel.choose(accel_kind)
    tools = toolchain.choose(toolchain_kind, asked.root / "docker", progress)
    tools.accel = chosen.accel
    progress.say(f"toolchain {tools.kind}: {tools.why}")
    progress.say(f"accel {chosen.accel}: {chosen.why}")
    versions = tools.versions()
    trees = tuple(each.get(tools, cache, progress) for each in asked.trees)
    at = {each.id: each.version for each in trees}
    for cell in asked.cells:
        asked.expectations.of(cell, at[cell.tree])
    arranged, left_out = zip(*(_arrange(asked, each, progress) for each in trees), strict=True)
    for each in trees:
        _require_known(asked.kconfigs, each, progress)
    guest = initramfs.make(asked.root / "tests/guest", tools, versions.compiler, cache, progress)
    builders = [
        (
            Builder(
                tree=source,
                kconfig=config.on(source.version),
                toolchain=tools,
                compiler=versions.compiler,
                cache=cache,
                progress=progress,
            ),
            variants,
        )
        for source, variants in zip(trees, arranged, strict=True)
        for config in asked.kconfigs
    ]
    for builder, _ in builders:
        builder.require_configurable()
    built = [kernel for builder, variants in builders for kernel in _build(builder, variants)]
    return Prepared(tools, versions, trees, guest, tuple(built), tuple(chain(*left_out)))


def _arrange(
    asked: Request,
    source: Tree,
    progress: Progress,
) -> tuple[list[tuple[Variant, Arrangement]], list[LeftOut]]:
    """Work out every variant's files, and which variants there cannot be.

    A variant that nobody named, whose patch does not apply without another one of its
    series, is left out and said so.
    """
    found = []
    left_out = []
    for variant in asked.variants:
        try:
            found.append((variant, arrangement.arrange(source.source, asked.series, variant)))
        except arrangement.DependentError as error:
            if asked.chosen:
                raise
            progress.say(f"left out: {error}")
            left_out.append(LeftOut(source.id, variant.name, str(error)))
    ports = {
        f"{name} as ported in {patch.port}"
        for _, arrangement in found
        for name, patch in arrangement.patches.items()
        if patch.port
    }
    merged = {
        f"{name} is in it already; a variant without it has it reverted"
        for _, arrangement in found
        for name, action in arrangement.actions.items()
        if action in {Action.PRESENT, Action.REVERTED}
    }
    for remark in sorted(ports | merged):
        progress.say(f"tree {source.id}: {remark}")
    return found, left_out


def _require_known(kconfigs: Iterable[kconfig.Request], source: Tree, progress: Progress) -> None:
    """Raise RequestError for an option that this source lacks; say what is other there."""
    declared = kconfig.declared(source.source)
    for config in kconfigs:
        config.require_known(source.version, declared)
        for remark in config.remarks(source.version):
            progress.say(f"tree {source.id}, kconfig {config.name}: {remark}")


def _build(builder: Builder, arranged: Sequence[tuple[Variant, Arrangement]]) -> list[Built]:
    """Build each distinct kernel once; one that cannot be built does not stop the others."""
    groups: dict[str, list[tuple[Variant, Arrangement]]] = defaultdict(list)
    for variant, sources in arranged:
        groups[sources.digest].append((variant, sources))
    what = f"{builder.tree.id}/{builder.kconfig.name}"
    built = []
    with builder.progress.task(f"kernels {what}", len(groups), "kernels") as task:
        for group in _near_first(list(groups.values())):
            names = ", ".join(variant.name for variant, _ in group)
            kernel: Kernel | MachineryError
            try:
                kernel = builder.build(group[0][1], f"kernel {what}/{names}")
            except MachineryError as error:
                builder.progress.say("\n  ".join((str(error), *error.details)))
                kernel = error
            built.append(Built(builder.tree, builder.kconfig, tuple(group), kernel))
            task.advance(note=names)
    return built


def _require_one_kernel(asked: Request, line: Line) -> None:
    """Raise where it is not said which kernel a machine that is not ours runs."""
    cells = {cell.column for cell in asked.cells}
    if len(cells) != 1 or not asked.chosen:
        raise RequestError(
            f"--machine {line.spec}: it boots one kernel by its own means, so name the one that"
            " it runs: --variants v6/1+2, say, with one --tree and one --kconfig"
        )
    line.require()


class Verification:
    """Carries out a request; ``folder`` is that of the run, which must not be there yet."""

    def __init__(
        self,
        asked: Request,
        *,
        folder: Path,
        toolchain_kind: str,
        accel_kind: str,
        jobs: int,
        argv: Sequence[str],
        cache: Cache,
        progress: Progress,
        line: Line | None = None,
    ) -> None:
        require_new(folder)
        if jobs < 1:
            raise RequestError(f"--jobs {jobs}: it is 1 or more")
        if line is not None:
            _require_one_kernel(asked, line)
            jobs = 1
        self.line = line
        self.asked = asked
        self.folder = folder
        self.toolchain_kind = toolchain_kind
        self.accel_kind = accel_kind
        self.jobs = jobs
        self.argv = tuple(argv)
        self.cache = cache
        self.progress = progress

    def run(self) -> Record:
        """Build, boot, run, record; returns the record, whose reports are written."""
        started = datetime.now(UTC).astimezone()
        prepared = prepare(
            self.asked, self.toolchain_kind, self.cache, self.progress, self.accel_kind
        )
        not_run = self._not_run(prepared.built)
        told = dict.fromkeys(LeftOut(cell.tree, cell.variant, why) for cell, why in not_run.items())
        left_out = (*prepared.left_out, *told)
        record = self._open(started, prepared, left_out)
        for each in prepared.trees:
            record.add_tree(TreeRecord(each.id, each.version, each.sha256))
        self._record_kernels(record, prepared.built)
        self._run_cells(record, prepared, not_run)
        self._keep_lines(record, prepared)
        record.write()
        report.write(record)
        return record

    def _open(self, started: datetime, prepared: Prepared, left_out: Iterable[LeftOut]) -> Record:
        self.folder.mkdir(parents=True)
        record = Record(
            self.folder,
            RunRecord(
                id=self.folder.name,
                started=started.isoformat(timespec="seconds"),
                seconds=(datetime.now(UTC) - started).total_seconds(),
                argv=self.argv,
                kstep_version=__version__,
                host={
                    "system": platform.platform(),
                    "machine": platform.machine(),
                    "cpus": os.cpu_count() or 0,
                    "python": platform.python_version(),
                    "accel": prepared.toolchain.accel,
                    **({} if self.line is None else {"line": self.line.spec}),
                    "busybox": prepared.initramfs.busybox_version,
                    "busybox_sha256": prepared.initramfs.busybox_sha256,
                    "initramfs_sha256": prepared.initramfs.sha256,
                },
            ),
            ToolchainRecord(
                kind=prepared.toolchain.kind,
                image_digest=prepared.toolchain.image_digest,
                gcc=prepared.versions.gcc,
                qemu=prepared.versions.qemu,
                gdb=prepared.versions.gdb,
            ),
            left_out=left_out,
            sessions=(
                SessionRecord(each.name, each.claim, each.text, self._file_of(each), line=each.line)
                for each in self.asked.sessions
            ),
        )
        record.write()
        return record

    def _script(self, cell: Cell) -> Session:
        return next(each for each in self.asked.sessions if each.name == cell.session)

    def _not_run(self, built: Iterable[Built]) -> dict[Cell, str]:
        """Say which cells cannot be run and why: on their kernel, or on a machine not ours.

        Raises RequestError where none is left.
        """
        kernels = {
            (each.tree.id, each.kconfig.name, variant.name): each
            for each in built
            for variant, _ in each.variants
        }
        cells = [cell for cell in self.asked.cells if _kernel_of(cell) in kernels]
        found: dict[Cell, str] = {}
        for cell in cells:
            script = self._script(cell)
            if option := kernels[_kernel_of(cell)].lacking(script):
                mend = kconfig.offering(option, self.asked.root / kconfig.FOLDER)
                found[cell] = (
                    f"{script.name} is not run with kconfig {cell.kconfig}:"
                    f" it needs {option}; {mend}"
                )
            elif self.line is not None and (why := lacks(script, cell.case)):
                found[cell] = f"{cell.name} is not run on {self.line.spec}: {why}"
        if cells and len(found) == len(cells):
            raise RequestError(next(iter(found.values())))
        for why in dict.fromkeys(found.values()):
            self.progress.say(f"left out: {why}")
        return found

    def _record_kernels(self, record: Record, built: Iterable[Built]) -> None:
        """Record every variant's kernel; one with an image that another has says so."""
        images: dict[tuple[str, str, str], str] = {}
        for each in built:
            if isinstance(each.kernel, MachineryError):
                continue
            kernel = each.kernel
            key = (each.tree.id, each.kconfig.name, kernel.image_sha256)
            for variant, sources in each.variants:
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
                    )
                )
                images.setdefault(key, variant.name)

    def _run_cells(self, record: Record, prepared: Prepared, left_out: Mapping[Cell, str]) -> None:
        wanted: dict[tuple[str, str, str], list[Cell]] = defaultdict(list)
        for cell in self.asked.cells:
            if cell not in left_out:
                wanted[_kernel_of(cell)].append(cell)
        twins: dict[tuple[str, str, str], list[str]] = {}
        boots: list[Boot] = []
        for each in prepared.built:
            key = (each.tree.id, each.kconfig.name, each.first)
            twins[key] = [variant.name for variant, _ in each.variants]
            if isinstance(each.kernel, MachineryError):
                message = "\n".join((str(each.kernel), *each.kernel.details))
                for cell in wanted[key]:
                    broken = Result(cell, Outcome.ERROR, each.kernel.signature, message)
                    self._keep(record, broken, twins[key])
                continue
            boots += [
                Boot(
                    cells=cells,
                    kernel=each.kernel,
                    initramfs=prepared.initramfs.path,
                    sessions=self.asked.root / "tests/sessions",
                    folder=self.folder.absolute(),
                    line=self.line,
                )
                for cells in plan.boots(wanted[key])
            ]
        total = sum(len(boot.cells) for boot in boots)
        with self.progress.task("cells", total, "cells") as task:

            def on_result(result: Result) -> None:
                cell = result.cell
                self._keep(record, result, twins[cell.tree, cell.kconfig, cell.variant])
                task.end(_called(cell))
                task.advance(note=f"{_called(cell)}: {result.signature or 'pass'}")

            def on_start(cell: Cell) -> None:
                task.begin(_called(cell))

            runner.run_all(boots, prepared.toolchain, self.jobs, on_result, on_start)

    def _keep(self, record: Record, result: Result, variants: Sequence[str]) -> None:
        """Record a result for every variant that the kernel stands for."""
        cell = result.cell
        script = self._script(cell)
        version = next(each.version for each in record.trees if each.id == cell.tree)
        files = {**result.files, "session": self._file_of(script)}
        if "trace" in files:
            files["lines"] = lines.place(cell.tree, cell.kconfig, cell.variant)
        for variant in variants:
            own = replace(cell, variant=variant)
            record.add(
                CellRecord(
                    cell=own,
                    outcome=result.outcome,
                    signature=result.signature,
                    expected=self.asked.expectations.of(own, version),
                    message=result.message,
                    seconds=result.seconds,
                    boot_seconds=result.boot_seconds,
                    metrics=result.metrics,
                    files=files,
                    held=self.asked.is_held(own),
                )
            )

    def _keep_lines(self, record: Record, prepared: Prepared) -> None:
        """Keep, for each kernel that was stepped, the source lines of where it was."""
        traces: dict[str, list[Path]] = defaultdict(list)
        for each in record.cells:
            if (trace := record.path(each, "trace")) is not None:
                traces[each.files["lines"]].append(trace)
        with self.progress.task("source lines", len(prepared.built), "kernels") as task:
            for built in prepared.built:
                file = lines.place(built.tree.id, built.kconfig.name, built.first)
                if isinstance(built.kernel, Kernel):
                    into = self.folder / file
                    lines.keep(built.kernel, traces[file], into, prepared.toolchain)
                task.advance(note=built.first)

    def _file_of(self, script: Session) -> str:
        return str(script.file.relative_to(self.asked.root))


def _kernel_of(cell: Cell) -> tuple[str, str, str]:
    return cell.tree, cell.kconfig, cell.variant


def _called(cell: Cell) -> str:
    """Name a cell for people who wait: the tree and the configuration they know."""
    return f"{cell.variant} {cell.name}"


def _near_first(
    groups: list[list[tuple[Variant, Arrangement]]],
) -> list[list[tuple[Variant, Arrangement]]]:
    """Order kernels so that each differs from the one before in as few files as can be.

    make compiles again whatever depends on a file that changed, and one of the series'
    patches changes a header that 220 objects include.
    """
    ordered, left = groups[:1], groups[1:]
    while left:
        last = ordered[-1][0][1].files
        left.sort(key=lambda group: _distance(last, group[0][1].files))
        ordered.append(left.pop(0))
    return ordered


def _distance(one: Mapping[str, bytes | None], other: Mapping[str, bytes | None]) -> int:
    missing = object()
    names = {*one, *other}
    return sum(one.get(name, missing) != other.get(name, missing) for name in names)
