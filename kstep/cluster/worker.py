# SPDX-License-Identifier: GPL-2.0-only
"""A worker of a cluster: boots and builds on this machine, for a kstep on another.

``dask worker ... --preload kstep.cluster.worker`` makes a worker of dask one of kstep's. It runs as
many boots at a time as it has cores and memory for, each in a process of its own, with the
toolchain of this machine, which contains untrusted code as ``./inv verify`` does here. What a boot
reads is fetched from workers that have it, and kept in the cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import os
import pickle
import random
import shutil
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed.worker import get_worker
from rich.console import Console
from tornado.ioloop import PeriodicCallback

from kstep import toolchain as toolchains
from kstep.base import temporary
from kstep.base.cache import Cache
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome
from kstep.base.progress import Progress, Task
from kstep.build.kernel import Builder, BuildError
from kstep.cluster import parcel as parcels
from kstep.cluster import word
from kstep.cluster.access import INSECURE, Access
from kstep.cluster.identity import COMPILERS, SUITE, TOOLCHAIN, Identity
from kstep.cluster.parcel import PIECE, Arrival, Parcel
from kstep.results import layout
from kstep.run import process
from kstep.run.boot import Result
from kstep.run.process import BootProcess, DeadError
from kstep.toolchain import GCC, reaper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kstep.build.kconfig import Kconfig
    from kstep.run.boot import Boot
    from kstep.source.patched import PatchedTree
    from kstep.source.tree import Tree
    from kstep.toolchain import Toolchain
    from kstep.toolchain.compiler import Compiler

ROOT = Path(__file__).parents[2]
MACHINE_GIB = 1.0  # memory of a QEMU and of the process that talks to it
LEAST_FREE = "KSTEP_LEAST_FREE"  # in the environment: MiB
LEAST_MIB = 256  # of free disk; a worker that has less takes no boot
LOOK = 0.5  # seconds between two looks at what was cancelled, and at the disk
GRACE = 20.0  # seconds for a process to end its machine; a container takes a while
PROCESS = "process:"  # before a name of the process, which no other one has: its second resource
READ = "kstep_read"  # what a worker answers to another

_hosts: dict[str, Host] = {}  # by the name of dask's worker; tests have several in a process


class CancelledError(Exception):
    """Nobody wants the attempt any more."""


@dataclass
class Attempt:
    """A job on this worker: whom it tells what, and what runs it."""

    worker: Any  # dask's Worker
    topic: str
    name: str
    process: BootProcess | None = None
    toolchain: Toolchain | None = None  # of a build, whose commands belong to this process
    cancelled: bool = False

    def tell(self, said: word.Word) -> None:
        """Send a word."""
        self.worker.log_event(self.topic, {"attempt": self.name, "word": pickle.dumps(said)})

    def require_wanted(self) -> None:
        """Raise CancelledError if it was cancelled."""
        if self.cancelled:
            raise CancelledError

    def cancel(self) -> None:
        """End it, and its machine or its build."""
        if self.cancelled:
            return
        self.cancelled = True
        if self.process is not None:
            self.process.terminate()
        if self.toolchain is not None:
            self.toolchain.end_orphans(own=True)


@dataclass
class Slots:
    """The machines that may run at the same time."""

    count: int
    free: int = -1
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.free = self.count

    @contextlib.contextmanager
    def taken(self, number: int, attempt: Attempt) -> Iterator[None]:
        """Hold ``number`` of them during the block; waits until they are free."""
        with self._changed:
            while self.free < number:
                self._changed.wait(LOOK)
                attempt.require_wanted()
            self.free -= number
        try:
            yield
        finally:
            with self._changed:
                self.free += number
                self._changed.notify_all()


class Host:
    """A machine as a part of a cluster, with its toolchain and its cache."""

    def __init__(self, worker: Any, toolchain: Toolchain, cache: Cache, root: Path = ROOT) -> None:  # noqa: ANN401 -- dask's
        self.worker, self.toolchain, self.cache = worker, toolchain, cache
        self.identity = Identity.of(root, toolchain, toolchain.versions(GCC))
        self.slots = Slots(_machines(worker.state.nthreads))
        self.attempts: dict[str, Attempt] = {}
        self._idle: list[BootProcess] = []
        self._arrivals: dict[str, Arrival] = {}
        self._lock = threading.Lock()
        self._registered = False
        self._alone: float | None = None  # since when the scheduler is gone
        self._look = PeriodicCallback(self.look, LOOK * 1000)

    def open(self) -> None:
        """Offer machines; called before the worker is known to the scheduler."""
        self.worker.handlers[READ] = self.read
        state = self.worker.state
        for what, count in (
            (str(self.identity), self.slots.count),
            (f"{PROCESS}{uuid.uuid4().hex}", 1),
        ):
            state.total_resources[what] = state.available_resources[what] = count
        self._look.start()

    async def look(self) -> None:
        """End what was cancelled; offer no machines while the disk is full.

        A worker whose scheduler is gone ends itself. dask's does not always come to the end of
        that, and would run its boots for nobody.
        """
        now = time.monotonic()
        stream = self.worker.batched_stream
        alone = self.worker.status.name not in ("init", "running") or not stream or stream.closed()
        self._alone = (self._alone or now) if alone and self._registered else None
        self._registered = self._registered or not alone
        if self._alone and now - self._alone > GRACE:
            await asyncio.to_thread(self.close)
            os._exit(1)
        tasks = self.worker.state.tasks
        for attempt in list(self.attempts.values()):
            task = tasks.get(attempt.name)
            if task is None or task.state in ("cancelled", "resumed"):
                await asyncio.to_thread(attempt.cancel)
        if alone:
            return
        offered = self.worker.state.total_resources[str(self.identity)]
        wanted = 0 if self.full() else self.slots.count
        if offered != wanted:
            await self.worker.set_resources(**{str(self.identity): wanted})

    def full(self) -> str:
        """Say how the disk is full; "" if it is not."""
        least = int(os.environ.get(LEAST_FREE, LEAST_MIB))
        for folder in (tempfile.gettempdir(), str(self.cache.folder())):
            free = shutil.disk_usage(folder).free >> 20
            if free < least:
                return f"{folder}: {free} MiB free, {least} needed"
        return ""

    def compiler(self, compiler: Compiler) -> str:
        """Return the version of a compiler of this machine's toolchain."""
        try:
            return self.toolchain.versions(compiler).compiler
        except MachineryError as error:
            return f"missing ({error}); start the worker with --compiler"

    def close(self) -> None:
        """End all machines."""
        self._look.stop()
        for attempt in list(self.attempts.values()):
            attempt.cancel()
        with self._lock:
            idle, self._idle = self._idle, []
        process.end(idle, GRACE)

    # -- parcels

    def has(self, parcel: Parcel) -> bool:
        """Whether this worker has a parcel's content."""
        return parcels.found(self.cache, parcel) is not None

    async def read(self, parcel: Parcel, offset: int) -> tuple[bytes, int, str] | None:
        """Return a piece of a packed parcel, its size and its hash; None if it is not here."""
        content = parcels.found(self.cache, parcel)
        if content is None:
            return None
        path, sha256 = await asyncio.to_thread(parcels.pack, self.cache, parcel, content)
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(PIECE), path.stat().st_size, sha256

    async def write(self, parcel: Parcel, piece: bytes, offset: int, sha256: str) -> None:
        """Take a piece of a parcel from the client; ``sha256`` comes with the last one."""
        if not offset:
            self._arrivals[parcel.key] = Arrival(self.cache, parcel)
        arrival = self._arrivals[parcel.key]
        arrival.take(piece)
        if sha256:
            del self._arrivals[parcel.key]
            try:
                await asyncio.to_thread(arrival.unpack, sha256)
            finally:
                arrival.drop()

    def fetch(self, parcel: Parcel, sources: Sequence[str], attempt: Attempt) -> Path | None:
        """Return where a parcel's content is, after fetching it if need be; None if that fails."""
        with self.cache.lock(f"{parcels.KIND}-fetch-{parcel.key}"):  # fetched by one attempt only
            if (path := parcels.found(self.cache, parcel)) is not None:
                return path
            for source in random.sample(sources, len(sources)):
                try:
                    path, size = self._fetch(parcel, source, attempt)
                except (OSError, MachineryError) as error:
                    if isinstance(error, OSError) and self.full():
                        raise
                    attempt.tell(word.Said(f"{self.worker.address}: {parcel.name}: {error}"))
                    continue
                attempt.tell(word.Shipped(parcel.key, size))
                return path
        return None

    def _fetch(self, parcel: Parcel, source: str, attempt: Attempt) -> tuple[Path, int]:
        arrival = Arrival(self.cache, parcel)
        try:
            offset, size, sha256 = 0, 1, ""
            while offset < size:
                attempt.require_wanted()
                found = self._ask(source, parcel, offset)
                if found is None:
                    raise MachineryError(f"{source} has it no more")
                piece, size, sha256 = found
                arrival.take(piece)
                offset += len(piece)
            return arrival.unpack(sha256), size
        finally:
            arrival.drop()

    def _ask(self, source: str, parcel: Parcel, offset: int) -> tuple[bytes, int, str] | None:
        async def ask() -> Any:  # noqa: ANN401 -- what read() returns
            asked = getattr(self.worker.rpc(source), READ)
            return await asked(parcel=parcel, offset=offset)

        loop = self.worker.loop.asyncio_loop
        found: tuple[bytes, int, str] | None = asyncio.run_coroutine_threadsafe(
            ask(), loop
        ).result()
        return found

    # -- processes

    def process(self) -> BootProcess:
        """Return a process that runs no boot."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return BootProcess(self.toolchain)

    def keep(self, idle: BootProcess) -> None:
        """Keep a process that is done with its boot for the next one."""
        with self._lock:
            self._idle.append(idle)

    @contextlib.contextmanager
    def attempt(self, topic: str, name: str, weight: int) -> Iterator[Attempt]:
        """Run an attempt in the block, when there are machines for it; its last word is Done."""
        made = self.attempts[name] = Attempt(self.worker, topic, name)
        try:
            with self.slots.taken(weight, made):
                if why := self.full():
                    made.tell(word.Unfit(why))
                    return
                yield made
        except CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 -- the client decides, as for a process that died
            why = self.full()
            made.tell(word.Unfit(why) if why else word.Died(f"{type(error).__name__}: {error}"))
        finally:
            del self.attempts[name]
            made.tell(word.Done())


def _machines(threads: int) -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return max(1, min(threads, os.cpu_count() or 1, int(memory / MACHINE_GIB)))


def here() -> Host:
    """Return the host of the task that calls this."""
    return _hosts[get_worker().id]


# -- what the client has run on a worker, by dask_worker and its name


def has(parcel: Parcel, dask_worker: Any) -> bool:  # noqa: ANN401 -- dask's
    """See Host.has()."""
    return _hosts[dask_worker.id].has(parcel)


async def read(parcel: Parcel, offset: int, dask_worker: Any) -> tuple[bytes, int, str] | None:  # noqa: ANN401
    """See Host.read()."""
    return await _hosts[dask_worker.id].read(parcel, offset)


async def write(parcel: Parcel, piece: bytes, offset: int, sha256: str, dask_worker: Any) -> None:  # noqa: ANN401
    """See Host.write()."""
    await _hosts[dask_worker.id].write(parcel, piece, offset, sha256)


# -- tasks


def run_boot(
    topic: str,
    name: str,
    boot: Boot,
    inputs: Mapping[Path, Parcel],
    sources: Mapping[str, list[str]],
) -> None:
    """Run a boot; ``inputs`` are the parcels of the files that it reads, by their paths there."""
    host = here()
    with host.attempt(topic, name, 1) as attempt, temporary.folder() as scratch:
        paths = {}
        for path, parcel in inputs.items():
            found = host.fetch(parcel, sources.get(parcel.key, []), attempt)
            if found is None:
                attempt.tell(word.Missing(parcel.key))
                return
            paths[path] = found
        attempt.process = host.process()
        attempt.require_wanted()
        _run(host, attempt, attempt.process, boot.moved(paths), Path(scratch))


def _run(host: Host, attempt: Attempt, runs: BootProcess, boot: Boot, folder: Path) -> None:
    runs.take(boot, folder)
    try:
        while (said := runs.word()) is not None:
            if not isinstance(said, Result):
                attempt.tell(word.Began(said))
            elif said.outcome is Outcome.ERROR and (why := host.full()):
                runs.terminate()
                attempt.tell(word.Unfit(why))
                return
            else:
                _send(attempt, said, folder)
    except DeadError as dead:
        host.toolchain.end_orphans()
        if not attempt.cancelled:
            why = host.full()
            attempt.tell(word.Unfit(why) if why else word.Died(str(dead)))
        return
    host.keep(runs)


def _send(attempt: Attempt, result: Result, folder: Path) -> None:
    own = folder / layout.cell_folder(result.cell)
    attempt.tell(word.Ended(result, word.collect(folder, own)))
    shutil.rmtree(own, ignore_errors=True)


@dataclass(frozen=True)
class Order:
    """Kernels of one tree and configuration: files, title, and whether it is built apart."""

    tree: Tree
    kconfig: Kconfig
    compiler: Compiler
    version: str  # of the compiler
    kernels: tuple[tuple[int, PatchedTree, str, bool], ...]


class _Lines:
    """A file for rich, whose lines are words."""

    def __init__(self, tell: Callable[[word.Word], None]) -> None:
        self._tell = tell

    def write(self, text: str) -> int:
        for line in filter(None, map(str.rstrip, text.splitlines())):
            self._tell(word.Said(line))
        return len(text)

    def flush(self) -> None:
        """Nothing is kept."""


class _Relay(Progress):
    """Prints as words, and ends a build that nobody wants any more."""

    def __init__(self, attempt: Attempt) -> None:
        lines: Any = _Lines(attempt.tell)
        super().__init__(Console(file=lines, width=200))
        self.attempt = attempt

    def task(self, title: str, total: int | None = None, unit: str = "") -> Task:
        """Begin a piece of work that is ended when the attempt is."""
        return _Cancellable(self, title, total, unit)


class _Cancellable(Task):
    def __init__(self, relay: _Relay, title: str, total: int | None, unit: str) -> None:
        super().__init__(relay, title, total, unit)
        self._attempt = relay.attempt

    def advance(self, count: int = 1, note: str = "") -> None:
        self._attempt.require_wanted()
        super().advance(count, note)


def run_build(
    topic: str, name: str, order: Order, source: Parcel, sources: Mapping[str, list[str]]
) -> None:
    """Build kernels, one after another, with every core of this machine."""
    host = here()
    with host.attempt(topic, name, host.slots.count) as attempt:
        found = host.fetch(source, sources.get(source.key, []), attempt)
        if found is None:
            attempt.tell(word.Missing(source.key))
            return
        has = host.compiler(order.compiler)
        if has != order.version:
            attempt.tell(word.Unfit(f"its {order.compiler.name} is {has}, not {order.version}"))
            return
        attempt.toolchain = host.toolchain
        attempt.tell(word.Started())
        builder = Builder(
            tree=dataclasses.replace(order.tree, source=found),
            kconfig=order.kconfig,
            toolchain=host.toolchain,
            compiler=order.compiler,
            compiler_version=order.version,
            cache=host.cache,
            progress=_Relay(attempt),
        )
        for number, patched, title, apart in order.kernels:
            attempt.require_wanted()
            try:
                kernel = builder.build(patched, title, apart=apart)
            except BuildError as error:
                attempt.require_wanted()
                if host.full():
                    raise
                failure = (str(error), error.signature, error.details)
                attempt.tell(word.Built(number, None, failure))
            else:
                attempt.tell(word.Built(number, kernel))


# -- dask's hooks


async def dask_setup(worker: Any) -> None:  # noqa: ANN401 -- dask's Worker
    """Make a worker of dask one of kstep's; dask calls it before the worker is registered.

    Without TLS it refuses a scheduler on another machine, unless that is asked for.
    """
    try:
        address = str(worker.scheduler.address)
        insecure = os.environ.get(INSECURE) == "1" or address.startswith("tls:")
        if not insecure:
            Access.parse("scheduler", address, insecure=False)
        host = await asyncio.to_thread(_ready, worker)
    except (RequestError, MachineryError) as error:
        print(f"kstep: {error}", file=sys.stderr, flush=True)  # noqa: T201 -- for who started it
        raise
    _hosts[worker.id] = host
    host.open()


def _ready(worker: Any) -> Host:  # noqa: ANN401 -- dask's
    progress = Progress()
    cache = Cache.default()
    cache.require_buildable()
    names = os.environ.get(COMPILERS, GCC.name).split(",")
    tools = toolchains.choose(
        os.environ.get(TOOLCHAIN, "auto"),
        ROOT / "docker",
        progress,
        os.environ.get(SUITE, ""),
        [toolchains.compiler(name) for name in names],
        [cache.folder("build")],
    )
    reaper.start(tools, cache.scratch_folders)
    host = Host(worker, tools, cache)
    progress.say(
        f"kstep worker: {host.slots.count} machines, toolchain {tools.kind}, {host.identity}"
    )
    return host


async def dask_teardown(worker: Any) -> None:  # noqa: ANN401 -- dask's
    """End what runs for others."""
    if (host := _hosts.pop(worker.id, None)) is not None:
        await asyncio.to_thread(functools.partial(host.close))
