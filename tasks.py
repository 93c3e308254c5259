# SPDX-License-Identifier: GPL-2.0-only
"""The commands of kstep; ./inv --list shows them, ./inv --help COMMAND describes one.

Each imports what it needs when it runs: --list and report import no engine.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import inspect
import json
import os
import select
import shlex
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.collection import Collection
from invoke.context import Context  # noqa: TC002 -- invoke looks at it when it runs
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from kstep.base.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kstep.base.progress import Progress
    from kstep.machine.hardware import Hardware
    from kstep.results.cell import Cell
    from kstep.results.record import Record
    from kstep.results.request import Asked
    from kstep.run.building import Built, Family
    from kstep.run.preparation import Prepared
    from kstep.run.request import Request
    from kstep.run.scheduler import Scheduler

ROOT = Path(__file__).resolve().parent
RUNS = ROOT / "runs"
MOST_CORES = 100_000  # of a forecast
WIDTH = 80  # columns without a terminal
SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # which end a command
INTERRUPTED = 130  # a shell's status for a program that Ctrl-C ended


def _exit_statuses(command: Callable[..., int | None]) -> Callable[..., None]:
    """Turn errors into one clear message and DESIGN's exit statuses."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- invoke's business
        os.umask(0o022)  # the container's user must be able to read what is written here
        terminals = _terminals()
        _take_signals(terminals)
        try:
            status = command(*args, **kwargs)
        except RequestError as error:
            raise Exit(f"kstep: {error}", RequestError.status) from None
        except MachineryError as error:
            raise Exit("\n  ".join((f"kstep: {error}", *error.details)), error.status) from None
        except KeyboardInterrupt:
            _leave_at_once()
            raise Exit("kstep: interrupted", INTERRUPTED) from None
        except SystemExit:  # rich's, where nobody reads: its 1 would be a verdict
            raise BrokenPipeError from None
        except OSError as error:
            _forget_closed(terminals)  # whose SIGHUP is ignored: Python's own status would be 1
            raise _unread(error) or Exit(f"kstep: {error}", MachineryError.status) from None
        except Exit:
            raise
        except Exception as error:  # noqa: BLE001 -- Python's own status, 1, would be a verdict
            traceback.print_exc()
            message = f"kstep: internal error: {type(error).__name__}: {error}"
            raise Exit(message, MachineryError.status) from None
        if status:
            raise Exit(code=status)

    return wrapped


def _unread(error: OSError) -> OSError | None:
    """Return the error if it means that nobody reads the output any more, as with head."""
    lines = select.poll()
    for stream in (1, 2):
        lines.register(stream, 0)
    gone = any(event & select.POLLERR for _, event in lines.poll(0))
    return error if isinstance(error, BrokenPipeError) and gone else None


def _take_signals(terminals: set[int]) -> None:
    atexit.register(_ignore_signals)  # runs after what other modules register from now on
    for number in (signal.SIGTERM, signal.SIGHUP):  # SIGHUP: a window was closed
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, functools.partial(_interrupt, terminals))


def _ignore_signals() -> None:
    """Keep the exit status: a signal while Python ends would be another.

    Python sets its handlers back to the default then, but leaves what is ignored
    (_PySignal_Fini() in Modules/signalmodule.c).
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _leave_at_once() -> None:
    """Have one more signal end an interrupted command, which Python is about to leave, in silence.

    What still runs ends with this process.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(INTERRUPTED))


def _terminals() -> set[int]:
    return {descriptor for descriptor in (1, 2) if os.isatty(descriptor)}


def _interrupt(terminals: set[int], _number: int, _frame: object) -> None:
    """Let a signal end a command as Ctrl-C does: machines and containers with it.

    What is said on a terminal that is closed goes nowhere, and is no fault.
    """
    _forget_closed(terminals)
    raise KeyboardInterrupt


def _forget_closed(terminals: set[int]) -> None:
    for descriptor in terminals - _terminals():
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _print_table(record: Record) -> None:
    from rich.console import Console

    from kstep.report.table import table

    console = Console()
    console.print(table(record, console.width if console.is_terminal else WIDTH))


def _say_what_next(record: Record) -> None:
    """Name the first test that is not as expected, if any, and its place in the report."""
    from kstep.report.anchor import anchor
    from kstep.report.story import called, look_first, surprise

    if (first := look_first(record)) is None:
        return
    latest = RUNS / "latest"
    folder = latest if latest.resolve() == record.folder.resolve() else record.folder
    shown = f"{os.path.relpath(folder)}/report.html#{anchor(first.cell)}"
    print(f"look first at {shown}: {called(record, first.cell)}: {surprise(first)}")  # noqa: T201 -- the command's answer


CLUSTER = {
    "scheduler": "a cluster's, tcp://HOST:PORT or tls://HOST:PORT; default: this host's cores",
    "tls-ca": "the certificate of the authority that signed all of a cluster's, as PEM",
    "tls-cert": "your certificate for a cluster, as PEM",
    "tls-key": "its private key, as PEM",
    "insecure": "use a cluster on other hosts without TLS",
}


def _typed(asked: Request, texts: tuple[str, str, str]) -> functools.partial[Asked]:
    """Return what was typed, as a run records it; ``texts`` are series, trees and kconfigs.

    The other options are still to be given.
    """
    from kstep.results.request import Asked

    series, trees, kconfigs = map(_list, texts)
    return functools.partial(
        Asked,
        folder=os.path.relpath(Path.cwd(), ROOT),
        series=tuple(series),
        trees=tuple(trees),
        kconfigs=dict(zip((each.name for each in asked.kconfigs), kconfigs, strict=True)),
        variants=tuple(each.name for each in asked.variants) if asked.chosen else (),
        compilers=tuple(each.name for each in asked.compilers),
        suites=tuple(filter(None, asked.suites)),
    )


def _engine(
    scheduler: str,
    files: tuple[str, str, str],
    *,
    insecure: bool,
    jobs: int,
    accel: str,
    machine: str,
    progress: Progress,
    stack: contextlib.ExitStack,
) -> tuple[Scheduler, Callable[[Sequence[Family]], list[Built]]]:
    """Return what runs boots and what builds kernels, until the stack is closed."""
    from kstep.base.cache import Cache
    from kstep.cluster.access import FILES, Access
    from kstep.machine.emulated_host import require_memory
    from kstep.run.building import build_here
    from kstep.run.local import LocalProcesses

    if not scheduler:
        for name, file in zip(FILES, files, strict=True):
            if file:
                raise RequestError(f"--{name}: only for --scheduler")
        at_once = jobs or os.cpu_count() or 1
        if accel.startswith("emulated-kvm"):
            require_memory(at_once)
        return LocalProcesses(at_once, progress.say), build_here
    if machine:
        raise RequestError("--scheduler: not with --machine, which is a serial line of this host")
    if jobs:
        raise RequestError(
            "--jobs: not with --scheduler; a worker's is ./inv cluster.worker --jobs"
        )
    access = Access.parse("--scheduler", scheduler, files, insecure=insecure)
    from kstep.cluster.client import Cluster

    cluster = Cluster(access, ROOT, Cache.default(), progress.say)
    stack.callback(cluster.close)
    cluster.open()
    return cluster, cluster.build


@task(
    help={
        "series": "names under patches/, folders, mboxes, patch files, git:DIR#A..B",
        "tree": "kernel sources: debian:6.1, path:DIR, git:DIR#REV, tar:FILE",
        "kconfig": "base, or fragments on it, joined by +: names under kconfigs/, files, a .config",
        "compiler": "gcc, clang or both (LLVM=1)",
        "suite": "of the container's tools: bookworm, trixie, forky, sid; default: the toolchain's",
        "matrix": "each (none, every patch alone, all; the default), prefixes or subsets",
        "variants": "such as none,v6/1+2 or 'v6/*', instead of a matrix",
        "sessions": "names or patterns, 'NAME[CASE]', FILE.py, quick (see ./inv sessions); all",
        "repeat": "how often to run each cell",
        "jobs": "machines at the same time; default: one per core",
        "toolchain": "auto, docker or host",
        "accel": "auto, kvm (arm64 hosts), tcg, or emulated-kvm[:SUITE] (an emulated arm64 host)",
        "trust": "build a series that is not in patches/ on this host, uncontained",
        "machine": "external: serial:DEVICE[@BAUD], tcp:HOST:PORT, labgrid:PLACE, exec:PROGRAM",
        "reset": "the command that resets that machine",
        **CLUSTER,
        "out": "the folder of the run; default: runs/<time>",
        "resume": "a run to go on with where it stopped; it keeps its request",
        "plan": "print the cells and do nothing",
    },
)
@_exit_statuses
def verify(
    _context: Context,
    series: str = "v5,v6",
    tree: str = "debian:6.1",
    kconfig: str = "base",
    compiler: str = "gcc",
    suite: str = "",
    matrix: str = "",
    variants: str = "",
    sessions: str = "",
    repeat: int = 1,
    jobs: int = 0,
    toolchain: str = "auto",
    accel: str = "auto",
    trust: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    machine: str = "",
    reset: str = "",
    scheduler: str = "",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    insecure: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    out: str = "",
    resume: str = "",
    plan: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
) -> int:
    """Build the variants, boot them, run the sessions, say what the patches do.

    Exit status: 0 every result is as expected, 1 some are not, 2 the request is wrong, 3 there
    is no verdict. Without an expectation a test must pass if it passes on the unpatched kernel.
    """
    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.machine.line import Line
    from kstep.results.verdict import exit_status
    from kstep.run import request
    from kstep.run.verification import Verification

    here = Path.cwd()
    if resume:
        typed = {
            "series": series,
            "tree": tree,
            "kconfig": kconfig,
            "compiler": compiler,
            "suite": suite,
            "matrix": matrix,
            "variants": variants,
            "sessions": sessions,
            "repeat": repeat,
            "jobs": jobs,
            "toolchain": toolchain,
            "accel": accel,
            "machine": machine,
            "reset": reset,
            "out": out,
        }
        out, former = _take_up(resume, typed)
        kept = former.options()
        series, tree, kconfig, matrix = (kept[n] for n in ("series", "tree", "kconfig", "matrix"))
        variants, sessions, toolchain = (kept[n] for n in ("variants", "sessions", "toolchain"))
        compiler, suite = kept["compiler"], kept["suite"]
        accel, machine, reset = former.accel, former.machine, former.reset
        repeat, trust = former.repeat, trust or former.trust
        jobs = jobs or former.jobs * (not scheduler)
    asked = request.look_up(
        ROOT,
        series_specs=_list(series),
        tree_specs=_list(tree),
        kconfig_names=_list(kconfig),
        variant_names=_list(variants),
        matrix_name=matrix,
        session_names=_list(sessions),
        repeats=repeat,
        with_base=not machine,  # which runs the one kernel that it has
        trust=trust,
        compiler_names=_list(compiler),
        suite_names=_list(suite),
    )
    if plan:
        planned = _without_verdict(asked.plan, out) if resume else asked.plan
        for cell in planned:
            print(f"{cell.column} {cell.name} {cell.repeat}")  # noqa: T201 -- what was asked for
        return 0
    if reset and not machine:
        raise RequestError("--reset: only for --machine; kstep resets its own machines")
    folder = Path(out) if out else RUNS / time.strftime("%Y%m%d-%H%M%S")
    with Progress() as progress, contextlib.ExitStack() as stack:
        if asked.base_added:
            progress.say("also running none: tests without expectations are compared with it")
        engine, build = _engine(
            scheduler,
            (tls_ca, tls_cert, tls_key),
            insecure=insecure,
            jobs=jobs,
            accel=accel,
            machine=machine,
            progress=progress,
            stack=stack,
        )
        job = Verification(
            asked,
            folder=folder,
            toolchain_kind=toolchain,
            accel_kind=accel,
            scheduler=engine,
            build=build,
            argv=sys.argv[1:],
            typed=_typed(asked, (series, tree, kconfig))(
                matrix=matrix or "each",
                sessions=asked.selectors if sessions else (),
                repeat=repeat,
                jobs=jobs,
                toolchain=toolchain,
                accel=accel,
                machine=machine,
                reset=reset,
                trust=trust,
            ),
            cache=Cache.default(),
            progress=progress,
            line=Line.parse(machine, reset) if machine else None,
            resume=bool(resume),
        )
        record = job.run()
    if not out:
        _point_latest(folder)
    shown = os.path.relpath(folder, here)
    if job.interrupted:
        with contextlib.suppress(OSError):  # of a terminal that was closed
            _print_table(record)
        _leave_at_once()
        raise Exit(
            f"kstep: interrupted with {len(record.cells)} results, {len(job.to_come)} cells still"
            f" to come; to resume: ./inv verify --resume {shown}",
            INTERRUPTED,
        )
    _print_table(record)
    print(f"results: {shown}; read report.html")  # noqa: T201 -- the command's answer
    _say_what_next(record)
    if exit_status(record.cells) == MachineryError.status:
        print(f"to run again what has no verdict: ./inv verify --resume {shown}")  # noqa: T201 -- likewise
    return exit_status(record.cells)


@task(
    help={
        "cells": "those to repeat: as verify's --sessions",
        "until-half-width": "of each rate's 95 % interval, from 0 to 1",
        "most": "repeats of a cell, at the most",
        "series": "as for verify",
        "tree": "as for verify",
        "kconfig": "as for verify",
        "compiler": "as for verify",
        "suite": "as for verify",
        "variants": "as for verify",
        "jobs": "as for verify",
        "toolchain": "as for verify",
        "accel": "as for verify",
        "trust": "as for verify",
        **CLUSTER,
        "out": "the folder of the run; default: runs/<time>",
        "resume": "a soak to go on with where it stopped; it keeps its request",
    },
)
@_exit_statuses
def soak(
    _context: Context,
    cells: str = "",
    until_half_width: float = 0.01,
    most: int = 10_000,
    series: str = "v5,v6",
    tree: str = "debian:6.1",
    kconfig: str = "base",
    compiler: str = "gcc",
    suite: str = "",
    variants: str = "",
    jobs: int = 0,
    toolchain: str = "auto",
    accel: str = "auto",
    trust: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    scheduler: str = "",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    insecure: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    out: str = "",
    resume: str = "",
) -> int:
    """Repeat tests until the rate at which each passes is known, most where it is known the least.

    Exit status: 0 every rate is known, 2 the request is wrong, 3 some are not after --most.
    """
    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.report import soak as rates
    from kstep.results.record import load
    from kstep.run import request
    from kstep.run.soak import Soak
    from kstep.run.verification import Verification

    policy = Soak(until_half_width, most, jobs or os.cpu_count() or 1)
    if resume:
        given = {"sessions": cells, "variants": variants, "out": out}
        out, former = _take_up(resume, {**given, "jobs": jobs})
        kept = former.options()
        series, tree, kconfig = (kept[name] for name in ("series", "tree", "kconfig"))
        variants, cells, toolchain = (kept[name] for name in ("variants", "sessions", "toolchain"))
        compiler, suite = kept["compiler"], kept["suite"]
        accel, trust = former.accel, trust or former.trust
    elif not cells:
        raise RequestError("--cells is missing; name what to repeat, such as 'step-in-order[*]'")
    asked = request.look_up(
        ROOT,
        series_specs=_list(series),
        tree_specs=_list(tree),
        kconfig_names=_list(kconfig),
        variant_names=_list(variants),
        session_names=_list(cells),
        trust=trust,
        compiler_names=_list(compiler),
        suite_names=_list(suite),
    )
    folder = Path(out) if out else RUNS / time.strftime("%Y%m%d-%H%M%S")
    with Progress() as progress, contextlib.ExitStack() as stack:
        engine, build = _engine(
            scheduler,
            (tls_ca, tls_cert, tls_key),
            insecure=insecure,
            jobs=jobs,
            accel=accel,
            machine="",
            progress=progress,
            stack=stack,
        )
        job = Verification(
            asked,
            folder=folder,
            toolchain_kind=toolchain,
            accel_kind=accel,
            scheduler=engine,
            build=build,
            soak=policy,
            argv=sys.argv[1:],
            typed=_typed(asked, (series, tree, kconfig))(
                matrix="each",
                sessions=asked.selectors,
                repeat=most,
                jobs=jobs,
                toolchain=toolchain,
                accel=accel,
                machine="",
                reset="",
                trust=trust,
            ),
            cache=Cache.default(),
            progress=progress,
            resume=bool(resume),
        )
        record = job.run()
    rates.write(record, until_half_width)
    shown = os.path.relpath(folder)
    print("\n".join(rates.text(record, until_half_width)))  # noqa: T201 -- the command's answer
    print(f"results: {shown}; over time: {shown}/{rates.PICTURE}")  # noqa: T201 -- likewise
    if job.interrupted:
        _leave_at_once()
        raise Exit(
            f"kstep: interrupted; to go on: ./inv soak --resume {shown}"
            f" --until-half-width {until_half_width:g} --most {most}",
            INTERRUPTED,
        )
    known = all(each.rate.half_width <= until_half_width for each in rates.repeated(load(folder)))
    return 0 if known else MachineryError.status


def _without_verdict(cells: Iterable[Cell], run: str) -> list[Cell]:
    from kstep.results.record import load
    from kstep.run import resumption

    return resumption.without_verdict(cells, load(Path(run)))


def _take_up(run: str, typed: Mapping[str, object]) -> tuple[str, Asked]:
    """Return the folder of a run that is to go on, and its request; go to where that was typed.

    Raises RequestError for an option that is typed beside it and is another there.
    """
    from kstep.run import resumption

    folder = Path(run).resolve()  # runs/latest may lead elsewhere by then
    folder = folder.parent if folder.is_file() else folder
    usual = inspect.signature(verify.body).parameters
    given = {name: str(value) for name, value in typed.items() if value != usual[name].default}
    kept = resumption.request_of(folder, given)
    try:
        os.chdir(ROOT / kept.folder)
    except OSError as error:
        raise RequestError(
            f"--resume {run}: its command was given in {kept.folder}: {error.strerror}"
        ) from error
    return str(folder), kept


def _point_latest(folder: Path) -> None:
    link = RUNS / "latest"
    scratch = RUNS / f".latest.{os.getpid()}"
    scratch.symlink_to(folder.name)
    scratch.replace(link)


@task(
    name="sessions",
    help={
        "sessions": "as for verify; default: all",
        "times": "a run: store the time of each of its tests as the usual time",
    },
)
@_exit_statuses
def list_sessions(_context: Context, sessions: str = "", times: str = "") -> None:
    """List the sessions: claim, cases, needs and usual time."""
    import shutil

    from kstep.results.record import load
    from kstep.session import catalogue, seconds, selection

    folder = ROOT / "tests/sessions"
    if times:
        seconds.save(folder, seconds.measured(load(Path(times)).cells))
    width = min(shutil.get_terminal_size((WIDTH, 0)).columns, 100)
    wanted = _list(sessions)
    selected = selection.select(folder, wanted)
    usual = seconds.load(folder)
    shown = selected.sessions if wanted else selected.known.values()  # the unsettled ones too
    lines = list(catalogue.lines(shown, usual, width))
    if not wanted:
        choices = {
            name: (texts, selection.select(folder, [name]).sessions)
            for name, texts in selection.choices(folder).items()
        }
        lines += catalogue.choice_lines(choices, usual, width)
    print("\n".join(lines).rstrip())  # noqa: T201 -- the command's answer


@task(
    help={
        "tree": "the repository: git:DIR",
        "good": "a revision at which the session passes",
        "bad": "a later revision at which it fails",
        "session": "one of ./inv sessions, or FILE.py",
        "function": "the session's case, usually a function; default: its first",
        "kconfig": "as for verify",
        "confidence": "the confidence that no bad kernel is called good",
        "toolchain": "auto, docker or host",
        "out": "the folder of the run; default: runs/<time>",
    },
)
@_exit_statuses
def bisect(
    _context: Context,
    tree: str = "",
    good: str = "",
    bad: str = "",
    session: str = "",
    function: str = "",
    kconfig: str = "base",
    confidence: float = 0.95,
    toolchain: str = "auto",
    out: str = "",
) -> int:
    """Find the commit that broke a session, by git bisect run, with a kernel booted at each step.

    Exit status: 0 found, 2 the request is wrong, 3 not found.
    """
    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.bisect import request as bisect_request
    from kstep.bisect import search as bisect_search
    from kstep.run import request

    for option, value in (("tree", tree), ("good", good), ("bad", bad), ("session", session)):
        if not value:
            raise RequestError(f"--{option} is missing; see ./inv --help bisect")
    folder = Path(out) if out else RUNS / time.strftime("%Y%m%d-%H%M%S")
    request.require_new(folder)
    asked = bisect_request.look_up(
        ROOT,
        tree=tree,
        good=good,
        bad=bad,
        session_name=session,
        function=function,
        kconfig_name=kconfig,
        confidence=confidence,
    )
    with Progress() as progress:
        found = bisect_search.bisect(asked, folder, toolchain, Cache.default(), progress)
    print("\n".join(filter(None, found.text())))  # noqa: T201 -- the command's answer
    print(f"runs: {os.path.relpath(folder)}")  # noqa: T201 -- the command's answer
    return 0 if found.first_bad else MachineryError.status


@task(
    name="add",
    positional=["source"],
    help={
        "source": "a folder of patches, an mbox, a patch, git:DIR#A..B, or a thread's message id",
        "name": "its name under patches/; default: from the source",
    },
)
@_exit_statuses
def series_add(_context: Context, source: str, name: str = "") -> None:
    """Save a series under patches/, with its patches named and in order."""
    from kstep.source import series

    found = series.load(source, ROOT)
    called = name or found.name
    if not series.NAME.fullmatch(called):
        raise RequestError(f"--name {called}: must be letters, digits, dot, dash and underscore")
    folder = ROOT / "patches" / called
    if folder.exists():
        raise RequestError(f"patches/{called} already exists; give another --name")
    series.save(found, called, folder)
    for patch in found.patches:
        print(f"{called}/{patch.id} {patch.subject}")  # noqa: T201 -- what was found
    print(f"added patches/{called}; next: ./inv verify --series {called}")  # noqa: T201 -- what was found


TOOLS = {"compiler": "gcc or clang", "suite": "as for verify"}

MACHINE = {
    "cpus": "the number of CPUs; default: 1",
    "cpu": "QEMU's model of the CPU; default: cortex-a76",
    "parameters": "what to append to the kernel's command line",
}


@task(
    positional=["function"],
    help={
        "function": "the kernel function to step from",
        "trigger": "the guest's command that reaches it",
        "count": "the maximum number of steps",
        "variant": "the kernel, such as none or v6/1+2",
        "series": "as for verify; default: the series that the variant names",
        "tree": "as for verify",
        "kconfig": "as for verify",
        **TOOLS,
        "toolchain": "auto, docker or host",
        "accel": "as for verify",
        "trust": "as for verify",
        **MACHINE,
    },
)
@_exit_statuses
def step(
    _context: Context,
    function: str,
    trigger: str = "",
    count: int = 100,
    variant: str = "v6/1+2",
    series: str = "",
    tree: str = "debian:6.1",
    kconfig: str = "base",
    compiler: str = "gcc",
    suite: str = "",
    toolchain: str = "auto",
    accel: str = "auto",
    trust: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    cpus: int = 1,
    cpu: str = "",
    parameters: str = "",
) -> int:
    """Step one function once, and print its path; exit status 1 if it leaves program order."""
    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.hand.walk import walk
    from kstep.run.preparation import prepare

    if count < 1:
        raise RequestError(f"--count {count}: must be 1 or more")
    if not trigger.strip() or not trigger.isprintable():
        said = repr(trigger) if trigger else "is missing"
        raise RequestError(f"--trigger {said}: give one line, a command of the guest's shell")
    hardware = _hardware(cpus, cpu, parameters)
    asked = _one_kernel(variant, series, tree, kconfig, compiler=compiler, suite=suite, trust=trust)
    with Progress() as progress:
        prepared = prepare(asked, toolchain, Cache.default(), progress, accel)
        with progress.task(f"stepping {function}", unit="steps") as task_:
            walked = walk(prepared, function, trigger, count, task_.advance, hardware)
    print("\n".join([*walked.text(), walked.ending]))  # noqa: T201 -- the command's answer
    return 0 if walked.fault is None else 1


ONE_KERNEL = {
    "variant": "the kernel, such as none or v6/1+2",
    "series": "as for verify; default: the series that the variant names",
    "tree": "as for verify",
    "kconfig": "as for verify",
    **TOOLS,
    "toolchain": "auto, docker or host",
    "trust": "as for verify",
}


@task(help={**ONE_KERNEL, **MACHINE})
@_exit_statuses
def shell(
    _context: Context,
    variant: str = "v6/1+2",
    series: str = "",
    tree: str = "debian:6.1",
    kconfig: str = "base",
    compiler: str = "gcc",
    suite: str = "",
    toolchain: str = "auto",
    trust: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    cpus: int = 1,
    cpu: str = "",
    parameters: str = "",
) -> None:
    """Boot a kernel and connect you to its serial line: a shell, and kdb with one key.

    Lines from a pipe are typed one by one, to the shell or to kdb, whichever prompts.
    """
    from kstep.hand.shell import shell as give_shell
    from kstep.machine.hardware import Hardware

    hardware = Hardware.of(cpus, cpu, parameters)
    asked = _one_kernel(variant, series, tree, kconfig, compiler=compiler, suite=suite, trust=trust)
    _by_hand(lambda prepared: give_shell(prepared, hardware), asked, toolchain)


@task(help={**ONE_KERNEL, **MACHINE})
@_exit_statuses
def gdb(
    _context: Context,
    variant: str = "v6/1+2",
    series: str = "",
    tree: str = "debian:6.1",
    kconfig: str = "base",
    compiler: str = "gcc",
    suite: str = "",
    toolchain: str = "auto",
    trust: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    cpus: int = 1,
    cpu: str = "",
    parameters: str = "",
) -> None:
    """Boot a kernel and start gdb, connected to its kgdb, with symbols and sources."""
    from kstep.hand.debugger import debug

    hardware = _hardware(cpus, cpu, parameters)
    asked = _one_kernel(variant, series, tree, kconfig, compiler=compiler, suite=suite, trust=trust)
    _by_hand(lambda prepared: debug(prepared, hardware), asked, toolchain)


@task(help={**ONE_KERNEL, "out": "the folder to write into"})
@_exit_statuses
def guest(
    _context: Context,
    out: str,
    variant: str = "v6/1+2",
    series: str = "",
    tree: str = "debian:6.1",
    kconfig: str = "base",
    compiler: str = "gcc",
    suite: str = "",
    toolchain: str = "auto",
    trust: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
) -> None:
    """Write what an external machine must boot for verify --machine: kernel and initramfs."""
    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.hand import guest as guest_files
    from kstep.machine.line import QEMU_LINE
    from kstep.run import request
    from kstep.run.preparation import prepare

    request.require_new(Path(out))
    asked = _one_kernel(variant, series, tree, kconfig, compiler=compiler, suite=suite, trust=trust)
    with Progress() as progress:
        prepared = prepare(asked, toolchain, Cache.default(), progress)
    guest_files.write(prepared, Path(out))
    print(  # noqa: T201 -- the command's answer
        f"{out}: boot Image with initramfs.cpio.gz and what is in cmdline (console= and kgdboc="
        f" are your machine's), then ./inv verify --variants {variant} --machine tcp:HOST:PORT;"
        f" QEMU's line for that: -serial {QEMU_LINE}"
    )


def _hardware(cpus: int, cpu: str, parameters: str) -> Hardware:
    """Return the machine that is asked for, which must boot to the guest's shell by itself."""
    from kstep.machine.hardware import WAITS, Hardware

    found = Hardware.of(cpus, cpu, parameters)
    if found.waits:
        raise RequestError(
            f"--parameters {parameters!r}: with {WAITS} the boot stops in kdb, and no command runs;"
            " use ./inv shell"
        )
    return found


def _by_hand(give: Callable[[Prepared], None], asked: Request, toolchain: str) -> None:
    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.run.preparation import prepare

    with Progress() as progress:
        prepared = prepare(asked, toolchain, Cache.default(), progress)
    give(prepared)


def _one_kernel(
    variant: str,
    series: str,
    tree: str,
    kconfig: str,
    *,
    compiler: str,
    suite: str,
    trust: bool,
) -> Request:
    """Request one kernel; without a series, the one that the variant names."""
    from kstep.run import request

    return request.look_up(
        ROOT,
        series_specs=_list(series) or [variant.rpartition("/")[0] or "v6"],
        tree_specs=[tree],
        kconfig_names=[kconfig],
        variant_names=[variant],
        trust=trust,
        compiler_names=[compiler],
        suite_names=[suite] if suite else [],
    )


@task(positional=["run"], help={"run": "the folder of a run, such as runs/latest"})
@_exit_statuses
def report(_context: Context, run: str) -> None:
    """Make the reports of a run again, from its results.json and its journal."""
    from kstep import report as reports
    from kstep.results.record import hold, load

    record = load(Path(run))
    if record.is_ahead:  # its kstep was killed, or is at work still and writes the file itself
        with contextlib.suppress(RequestError), hold(record.folder):
            record.write()
    reports.write(record)
    _print_table(record)
    _say_what_next(record)


@task(
    positional=["runs"],
    help={"runs": "folders of runs that share no test, with commas", "out": "a new folder"},
)
@_exit_statuses
def merge(_context: Context, runs: str, out: str = "") -> int:
    """Merge runs that were made on several hosts; exit status as for verify."""
    from kstep import report as reports
    from kstep.results.merge import merge as merge_runs
    from kstep.results.record import load
    from kstep.results.verdict import exit_status

    if not out:
        raise RequestError("--out is missing; name a new folder")
    if not _list(runs):
        raise RequestError("no run is named; name the folders of runs, with commas")
    record = merge_runs([load(Path(run)) for run in _list(runs)], Path(out))
    reports.write(record)
    _print_table(record)
    _say_what_next(record)
    return exit_status(record.cells)


@task(
    name="matrix",
    help={
        "kind": "slim or nightly, from ci/matrix.yaml",
        "shards": "split each job into so many of about the same length",
    },
)
@_exit_statuses
def ci_matrix(_context: Context, kind: str = "slim", shards: int = 1) -> None:
    """Print the jobs of a CI run, as JSON for GitHub's strategy.matrix."""
    from ci.matrix import matrix

    print(matrix(kind, shards))  # noqa: T201 -- the command's answer


@task(name="annotate", positional=["run"], help={"run": "the folder of a run"})
@_exit_statuses
def ci_annotate(_context: Context, run: str) -> None:
    """Print unexpected results as GitHub annotations, with file and line."""
    from kstep.report.annotation import annotate
    from kstep.results.record import load

    for line in annotate(load(Path(run))):
        print(line)  # noqa: T201 -- the command's answer


@task(
    name="history",
    positional=["bench"],
    help={
        "bench": "what ./inv bench wrote",
        "history": "the file to which its figures are appended",
        "commit": "what was measured",
    },
)
@_exit_statuses
def ci_history(
    _context: Context, bench: str, history: str = "bench.jsonl", commit: str = ""
) -> int:
    """Append the figures of a bench to those of the last runs; say which are worse than these.

    Exit status: 0 none, 1 some are.
    """
    from ci.history import add

    worse = add(Path(bench), Path(history), commit)
    for each in worse:
        print(f"worse: {each}")  # noqa: T201 -- the command's answer
    return 1 if worse else 0


@task(
    name="scheduler",
    positional=["address"],
    help={
        "address": "where it listens; default: tcp://127.0.0.1:8786",
        **{name: text for name, text in CLUSTER.items() if name != "scheduler"},
    },
)
@_exit_statuses
def cluster_scheduler(
    _context: Context,
    address: str = "tcp://127.0.0.1:8786",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    insecure: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
) -> None:
    """Run the scheduler of a cluster, until Ctrl-C."""
    from kstep.cluster import service
    from kstep.cluster.access import Access

    files = tls_ca, tls_cert, tls_key
    service.scheduler(Access.parse("--address", address, files, insecure=insecure))


@task(
    name="worker",
    positional=["scheduler"],
    help={
        **CLUSTER,
        "scheduler": "that of the cluster, tcp://HOST:PORT or tls://HOST:PORT",
        "jobs": "machines at the same time; default: as cores and memory allow",
        "toolchain": "auto, docker or host",
        "compiler": "what it can build with: gcc, clang",
        "suite": "the Debian suite of its tools; default: the toolchain's own",
    },
)
@_exit_statuses
def cluster_worker(
    _context: Context,
    scheduler: str,
    jobs: int = 0,
    toolchain: str = "auto",
    compiler: str = "gcc",
    suite: str = "",
    tls_ca: str = "",
    tls_cert: str = "",
    tls_key: str = "",
    insecure: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
) -> None:
    """Run boots and builds of a cluster on this host, until Ctrl-C."""
    from kstep import toolchain as toolchains
    from kstep.cluster import service
    from kstep.cluster.access import Access

    if jobs < 0:
        raise RequestError(f"--jobs {jobs}: must be 1 or more")
    toolchains.require_kind(toolchain)
    for name in _list(compiler):
        toolchains.compiler(name)
    access = Access.parse("SCHEDULER", scheduler, (tls_ca, tls_cert, tls_key), insecure=insecure)
    service.worker(access, jobs or os.cpu_count() or 1, toolchain, compiler, suite)


@task(
    name="forecast",
    help={
        "cores": "sizes of clusters, with commas",
        "kind": "the matrix of ci/matrix.yaml that is run",
        "like": "a run: forecast that one instead, without builds, and compare",
    },
)
@_exit_statuses
def cluster_forecast(
    _context: Context, cores: str = "2,16,128,1024", kind: str = "nightly", like: str = ""
) -> None:
    """Simulate a whole matrix on clusters, from measured times: how long, and what limits it."""
    from ci.matrix import load
    from kstep.cluster import forecast
    from kstep.results.record import load as load_run

    sizes = _list(cores)
    if not sizes or not all(size.isdecimal() and 0 < int(size) <= MOST_CORES for size in sizes):
        raise RequestError(f"--cores {cores}: must be whole numbers, 1 to {MOST_CORES}")
    run = load_run(Path(like)) if like else None
    work = load(kind) if run is None else forecast.Load.of(run.cells)
    found = [forecast.simulate(work, int(size), forecast.Costs()) for size in sizes]
    print("\n".join(forecast.text(work, found)))  # noqa: T201 -- the command's answer
    if run is not None:
        told = ", ".join(f"{each.wall:.0f} s with {each.cores} cores" for each in found)
        print(f"forecast {told}; {like} took {run.run.seconds:.0f} s")  # noqa: T201 -- likewise


@task(
    positional=["before", "after"],
    help={
        "before": "the folder of a run",
        "after": "the folder of a later one",
        "out": "also write a page, such as compare.html",
    },
)
@_exit_statuses
def compare(_context: Context, before: str, after: str, out: str = "") -> int:
    """Say what changed between two runs: tests, rates, what they were made with.

    Exit status: 0 nothing is worse, 1 something broke, 3 no test has a verdict in both.
    """
    from kstep.report.compare import compare as compare_runs
    from kstep.results.record import load

    runs = load(Path(before)), load(Path(after))
    found = compare_runs(*runs)
    if out:
        from kstep.report.compare_page import compare_page

        page = compare_page(*runs, found, Path(out).parent)
        try:
            Path(out).write_text(page, "utf-8")
        except OSError as error:
            raise RequestError(f"--out {out}: cannot write it: {error.strerror}") from error
    print("\n".join(found.text()))  # noqa: T201 -- the command's answer
    return found.status


@task(
    help={
        "toolchain": "auto, docker or host",
        "out": "the file to write; a page of the same name with .html is drawn beside it",
        "peers": "also have tuxmake, virtme-ng and pexpect do the same; they are installed for it",
        "whole": "also what takes hours",
    }
)
@_exit_statuses
def bench(
    _context: Context,
    toolchain: str = "auto",
    out: str = "bench.json",
    peers: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    whole: bool = False,  # noqa: FBT001, FBT002 -- likewise
) -> None:
    """Measure kstep itself: steps per second against a plain loop, builds against a full one."""
    from rich.console import Console
    from rich.table import Table

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.bench.measurement import measure
    from kstep.bench.page import page
    from kstep.run import request
    from kstep.run.preparation import prepare

    asked = request.look_up(ROOT, series_specs=["v6"], tree_specs=["debian:6.1"])
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    with Progress() as progress:
        cache = Cache.default()
        get = functools.partial(prepare, asked, toolchain, cache, progress)
        measured = measure(
            get(),
            lambda build: get(build=build),
            ROOT,
            cache.root,
            progress,
            peers=peers,
            whole=whole,
        )
    shown = Table(box=None)
    shown.add_column("figure", no_wrap=True)
    for heading in ("value", "bound", "met"):
        shown.add_column(heading)
    for name, figure in measured.figures.items():
        sign = "at least" if figure.least else "at most"
        shown.add_row(name, f"{figure.value:.3f}", f"{sign} {figure.bound}", str(figure.met))
    for name, rate in measured.rates.items():
        shown.add_row(f"steps a second, {name}", f"{rate:.0f}", "", "")
    Console().print(shown)
    for name, why in measured.missing.items():
        print(f"not measured: {name}: {why}")  # noqa: T201 -- the command's answer
    Path(out).write_text(json.dumps(measured.to_json(), indent=1) + "\n")
    Path(out).with_suffix(".html").write_text(page(measured, started), "utf-8")


@task(
    name="test",
    help={
        "unit": "only what needs no kernel: lint, imports, types, unit tests",
        "nightly": "also every mutant with every session that must catch it",
        "only": "files or folders of tests, with commas: only these, without lint and types",
    },
)
@_exit_statuses
def run_tests(
    context: Context,
    unit: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    nightly: bool = False,  # noqa: FBT001, FBT002 -- a flag of the command line
    only: str = "",
) -> int:
    """Run the project's own tests: lint, imports, types, unit tests, and tests that boot kernels.

    The tests with kernels use the same toolchain and cache as verify.
    """
    python = sys.executable
    chosen = ["tests/unit"] * unit + _list(only)
    tests = shlex.join([*("-m", "pytest"), *chosen, *["-m", ""] * nightly])
    static = [
        f"{python} -m ruff check .",
        f"{python} -m ruff format --check .",
        f"{python} {Path(python).parent}/lint-imports --no-cache --no-logo",
        f"{python} -m mypy",
    ]
    for check in [*static * (not only), f"{python} {tests}"]:
        print(f"$ {check.removeprefix(python).strip()}", flush=True)  # noqa: T201 -- for the reader
        with context.cd(str(ROOT)):
            result = context.run(check, warn=True, pty=False, in_stream=False)
        if result is None or not result.ok:
            return 1
    return 0


@task(name="doctor")
@_exit_statuses
def examine(_context: Context) -> int:
    """Say what is missing on this host, and how to get it."""
    from kstep import doctor

    findings = doctor.examine(ROOT / "docker")
    for found in findings:
        print(f"{'missing' if found.fix else 'ok':8} {found.what}: {found.state}")  # noqa: T201 -- the answer
        if found.fix:
            print(f"{'':8} to get it: {found.fix}")  # noqa: T201 -- the answer
    return 0 if doctor.usable(findings) else 3


@task
@_exit_statuses
def clean(_context: Context) -> None:
    """Remove the cache: downloads, sources, kernels, guests, ccache. Runs stay."""
    from kstep.base.cache import Cache

    cache = Cache.default()
    cache.clear()
    print(f"removed {cache.root}")  # noqa: T201 -- the command's answer


# Every task above; those of a noun under that noun. Invoke requires this name.
_OF = {
    "series": (series_add,),
    "ci": (ci_matrix, ci_annotate, ci_history),
    "cluster": (cluster_scheduler, cluster_worker, cluster_forecast),
}
namespace = Collection(
    *(
        each
        for each in list(globals().values())
        if isinstance(each, Task) and not any(each in own for own in _OF.values())
    ),
    *(Collection(noun, *own) for noun, own in _OF.items()),
)
