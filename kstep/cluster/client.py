# SPDX-License-Identifier: GPL-2.0-only
"""The scheduler of several machines: boots and builds on the workers of a dask cluster.

A job (a boot, or the builds of one tree and configuration) is given to a worker that has a free
machine. What it says of the job (``word``) comes back as it happens, over dask's events. dask
knows who is there and carries what is sent; which job is done, and by whom, is known only here,
so that neither a worker nor a scheduler that is lost takes results with it: what was under way is
given to another worker, and a word of an attempt that was given up is not listened to.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import pickle
import queue
import time
import uuid
from abc import ABC, abstractmethod
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.build import kernel as kernels
from kstep.build.kernel import BuildError, Kernel
from kstep.cluster import parcel as parcels
from kstep.cluster import word
from kstep.cluster.access import MISSING
from kstep.cluster.identity import Identity
from kstep.cluster.parcel import PIECE, Arrival, Parcel
from kstep.results import layout
from kstep.run import runner
from kstep.run.boot import Boot, Result
from kstep.run.pending import Pending
from kstep.run.scheduler import MOST_WORKERS
from kstep.toolchain import GCC

try:
    from distributed import Client

    from kstep.cluster import worker as far
except ImportError as error:  # an optional extra
    raise RequestError(f"--scheduler {MISSING}") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kstep.base.cache import Cache
    from kstep.cluster.access import Access
    from kstep.results.cell import Cell
    from kstep.run.building import Built, Family, Wanted
    from kstep.source.tree import Tree
    from kstep.toolchain import Toolchain

LOOK = 1.0  # seconds between two looks at who is there
FIRST = 60.0  # seconds until a worker must have come
PATIENCE = 600.0  # seconds that the cluster may be without a scheduler, or without a worker
CONNECT = 15.0  # seconds for one connection
AGAIN = 2.0  # seconds between two tries to connect
GRACE = 30.0  # seconds for workers to end what was cancelled
MOST_RETURNS = 5  # of one job by workers that cannot go on, such as one whose disk is full
# Errors of a connection that is gone, or of a scheduler or worker that does not answer.
GONE = (OSError, TimeoutError, RuntimeError, ValueError)


@dataclass
class Worker:
    """A worker as its scheduler describes it; ``machines`` is how many boots it runs at a time."""

    address: str
    id: str
    name: str
    identity: Identity
    machines: int
    threads: int


class Job(ABC):
    """Something that is run on a worker, by as many attempts as it takes."""

    whole = False  # whether it needs a worker to itself
    returns = 0  # how often a worker gave it back

    @property
    @abstractmethod
    def title(self) -> str:
        """Its name, for people."""

    @property
    @abstractmethod
    def inputs(self) -> Mapping[Path, Parcel]:
        """What it reads here."""

    @abstractmethod
    def call(self, sources: Mapping[str, list[str]]) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """Return what a worker runs of it now, and its arguments after topic and name."""

    @abstractmethod
    def hear(self, said: word.Word, by: Worker) -> None:
        """Take a word of the current attempt."""

    @abstractmethod
    def died(self, why: str) -> bool:
        """Note that a worker died in it; return whether another one must go on."""

    @abstractmethod
    def give_up(self, why: str) -> None:
        """End it without having run what is left."""


@dataclass
class Flight:
    """An attempt: a job at a worker."""

    job: Job
    worker: Worker
    future: Any  # dask's; the task is cancelled when it is dropped
    began: bool = False  # whether the worker has begun to run it
    over: Callable[[], None] | None = None  # what follows its end


@dataclass
class Shipment:
    """What was sent over the network, in bytes as sent; by kind, and how often."""

    sizes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, size: int) -> None:
        """Count one."""
        self.sizes[kind] += size
        self.counts[kind] += 1

    def __str__(self) -> str:
        told = (
            f"{self.counts[kind]} {kind} ({size / self.counts[kind] / 1e6:.3g} MB each)"
            for kind, size in self.sizes.items()
        )
        return ", ".join(told)


class Cluster:
    """A Scheduler whose workers are those of a dask scheduler that are this kstep.

    ``root`` is the folder of this kstep; workers with another kstep or toolchain are named and get
    nothing. ``say`` is called with lines for the user. Close it when all is done.
    """

    def __init__(
        self, access: Access, root: Path, cache: Cache, say: Callable[[str], None]
    ) -> None:
        self._access = access
        self._root = root
        self._identity: Identity | None = None
        self._cache = cache
        self._say = say
        self._client: Any = None
        self._scheduler = ""  # its id: another one knows nothing of what was under way
        self._words: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._workers: dict[str, Worker] = {}
        self._told: set[str] = set()  # ids of workers that are not like this
        self._unfit: dict[str, float] = {}  # until when one gets nothing, by its id
        self._holders: dict[str, set[str]] = defaultdict(set)  # ids of who has a parcel, by its key
        self._inputs: dict[tuple[Any, ...], Mapping[Path, Parcel]] = {}
        self._looked = 0.0
        self._alone: float | None = None  # since when there is no worker
        self.shipped = Shipment()
        for name in ("distributed", "distributed.core", "distributed.client", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said here

    # -- the connection

    def close(self) -> None:
        """End the connection."""
        if self._client is not None:
            with contextlib.suppress(*GONE):
                self._client.close(timeout=2)
            self._client = None

    def open(self) -> None:
        """Connect to the scheduler; raises MachineryError if there is none."""
        try:
            self._connect()
        except GONE as error:
            raise MachineryError(
                f"--scheduler {self._access.address}: no scheduler answers ({_reason(error)});"
                " start one with ./inv cluster.scheduler"
            ) from error

    def _await_workers(self, toolchain: Toolchain) -> None:
        """Wait for the first worker; raises MachineryError if none comes that is like this kstep.

        Like this kstep: with the same code, and with programs like those of ``toolchain``.
        """
        identity = Identity.of(self._root, toolchain, toolchain.versions(GCC))
        if self._identity == identity:
            return
        self._identity = identity
        deadline = Deadline.after(FIRST)
        while not (self._look() and self._workers):
            if not deadline.left:
                raise MachineryError(
                    f"--scheduler {self._access.address}: no worker came that is like this kstep;"
                    " start one with ./inv cluster.worker"
                )
            time.sleep(LOOK)
        machines = sum(each.machines for each in self._workers.values())
        self._say(
            f"cluster {self._access.address}: {len(self._workers)} workers, {machines} machines"
        )

    def _connect(self) -> None:
        self._client = Client(
            self._access.address,
            timeout=CONNECT,
            security=self._access.security,
            set_as_default=False,
            name="kstep",
        )
        words: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._words = words
        self._client.subscribe_topic(self._client.id, partial(_put, words))
        self._scheduler = str(self._info()["id"])
        self._holders.clear()

    def _info(self) -> Mapping[str, Any]:
        """Ask the scheduler who it is, and who is there.

        Not by scheduler_info(), whose answer is one that the client keeps up to date meanwhile,
        without the workers.
        """
        asked = self._client.sync(self._client.scheduler.identity, n_workers=-1)
        return dict(asked)

    def _reconnect(self) -> None:
        """Wait until a scheduler answers again; raises MachineryError if none does."""
        self._say(f"cluster {self._access.address}: the scheduler is gone; waiting for it")
        deadline = Deadline.after(PATIENCE)
        while True:
            self.close()
            try:
                self._connect()
            except GONE as error:
                if not deadline.left:
                    raise MachineryError(
                        f"--scheduler {self._access.address}: gone for {PATIENCE:.0f} s"
                        f" ({_reason(error)}); resume the run when it is back"
                    ) from error
                time.sleep(AGAIN)
                continue
            self._workers.clear()
            self._say(f"cluster {self._access.address}: the scheduler is back")
            return

    def _look(self) -> bool:
        """See who is there; returns whether the scheduler is still the same."""
        self._looked = time.monotonic()
        try:
            if self._client.status != "running":
                return False
            info = self._info()
        except GONE:
            return False
        if str(info["id"]) != self._scheduler:
            return False
        found = {}
        for address, each in info["workers"].items():
            worker = self._known(address, each)
            if worker is not None:
                found[worker.id] = worker
        self._workers = found
        if any(each.machines for each in found.values()):
            self._alone = None
        elif self._alone is None:
            self._alone = time.monotonic()
        elif time.monotonic() - self._alone > PATIENCE:
            raise MachineryError(
                f"--scheduler {self._access.address}: no worker for {PATIENCE:.0f} s; resume the"
                " run when there is one"
            )
        return True

    def _known(self, address: str, info: Mapping[str, Any]) -> Worker | None:
        """Return a worker that is like this kstep; say once what is wrong with another one."""
        name, resources = str(info.get("host", address)), info["resources"]
        kept = next((what for what in resources if what.startswith(far.PROCESS)), address)
        offers = {Identity.parse(what): count for what, count in resources.items()}
        for identity, machines in offers.items():
            if identity is not None and identity == self._identity:
                return Worker(address, kept, name, identity, int(machines), int(info["nthreads"]))
        if kept not in self._told:
            self._told.add(kept)
            known = next(filter(None, offers), None)
            why = "is none of kstep's"
            if known and self._identity:
                why = self._identity.differs(known)
            self._say(f"worker {address} gets nothing: it {why}")
        return None

    # -- parcels

    def _parcels(self, boot: Boot) -> Mapping[Path, Parcel]:
        """Return what a boot reads; computed once for boots that read the same files."""
        read = (boot.kernel.folder, boot.initramfs, boot.sessions, boot.own, boot.host)
        if read not in self._inputs:
            kinds = {boot.kernel.folder: "kernels", boot.initramfs: "guests"}
            kinds |= {} if boot.host is None else {boot.host.folder: "hosts"}
            self._inputs[read] = {
                each.path: Parcel(each.key, each.path.name, kinds.get(each.path, "scripts"))
                for each in boot.inputs
            }
        return self._inputs[read]

    def _provide(self, inputs: Mapping[Path, Parcel], worker: Worker) -> dict[str, list[str]]:
        """Return where a worker gets its parcels; send it those that no worker has."""
        sources = {}
        for path, parcel in inputs.items():
            holders = self._holders[parcel.key] & self._workers.keys()
            if not holders:
                self._send(path, parcel, worker)
                holders = {worker.id}
            self._holders[parcel.key] = holders
            sources[parcel.key] = [self._workers[each].address for each in sorted(holders)]
        return sources

    def _ask(self, worker: Worker, function: Callable[..., object], *arguments: object) -> Any:  # noqa: ANN401
        asked = self._client.run(function, *arguments, workers=[worker.address], on_error="raise")
        return asked[worker.address]

    def _send(self, path: Path, parcel: Parcel, worker: Worker) -> None:
        if self._ask(worker, far.has, parcel):
            return
        packed, sha256 = parcels.pack(self._cache, parcel, path)
        size = packed.stat().st_size
        with packed.open("rb") as stream:
            for offset in range(0, size, PIECE):
                last = offset + PIECE >= size
                piece = stream.read(PIECE)
                self._ask(worker, far.write, parcel, piece, offset, sha256 if last else "")
        self.shipped.add(parcel.kind, size)

    def _bring(self, worker: Worker, parcel: Parcel, into: Path) -> None:
        """Fetch a parcel from a worker, and put its content there; raises as _ask() does."""
        arrival = Arrival(self._cache, parcel)
        try:
            offset, size, sha256 = 0, 1, ""
            while offset < size:
                found = self._ask(worker, far.read, parcel, offset)
                if found is None:
                    raise MachineryError(f"{worker.name} has {parcel.key} no more")
                piece, size, sha256 = found
                arrival.take(piece)
                offset += len(piece)
            content = arrival.unpack(sha256)
        finally:
            arrival.drop()
        self.shipped.add(parcel.kind, size)
        for path in content.iterdir():
            path.rename(into / path.name)
        self._cache.drop(parcels.KIND, parcel.key)

    # -- jobs

    def carry_out(self, jobs: Iterable[Job]) -> None:
        """Run jobs, each until it is done or given up; the workers are free when it returns.

        Raises MachineryError if the cluster is gone for too long.
        """
        waiting = deque(jobs)
        flights: dict[str, Flight] = {}
        try:
            while waiting or flights:
                if time.monotonic() - self._looked > LOOK:
                    self._see(waiting, flights)
                self._assign(waiting, flights)
                self._listen(waiting, flights)
        finally:
            self._end(flights)

    def _see(self, waiting: deque[Job], flights: dict[str, Flight]) -> None:
        """Take away what was at workers that are gone."""
        lost = not self._look() or any(
            each.future.status == "cancelled" for each in flights.values()
        )
        if lost:
            self._hear_all(waiting, flights)
            self._reconnect()
            waiting.extendleft(each.job for each in reversed(flights.values()))
            flights.clear()
            self._look()
            return
        for name, flight in list(flights.items()):
            gone = flight.worker.id not in self._workers
            failed = flight.future.status == "error"
            if not gone and not failed:
                continue
            self._hear_all(waiting, flights)  # what it said before
            if name not in flights:
                continue
            del flights[name]
            why = f"{flight.worker.name}: "
            why += "connection lost" if gone else _reason(flight.future.exception())
            if (failed or flight.began) and not flight.job.died(why):
                continue
            waiting.appendleft(flight.job)

    def _assign(self, waiting: deque[Job], flights: dict[str, Flight]) -> None:
        """Give jobs to the workers that have a free machine, to the one with most of them first.

        While many wait, each worker has a few more, so that none waits for the network.
        """
        now = time.monotonic()
        busy: Counter[str] = Counter()
        for flight in flights.values():
            busy[flight.worker.id] += flight.worker.machines if flight.job.whole else 1
        fit = [each for each in self._workers.values() if self._unfit.get(each.id, 0) <= now]
        total = sum(each.machines for each in fit)
        while waiting:
            ahead = len(waiting) > 2 * total
            free = {
                each.id: each.machines * (2 if ahead else 1) - busy[each.id]
                for each in fit
                if each.machines and not (waiting[0].whole and busy[each.id])
            }
            best = max(free, key=free.__getitem__, default="")
            if not best or free[best] < 1:
                return
            job, worker = waiting.popleft(), self._workers[best]
            if not self._start(job, worker, flights):
                waiting.appendleft(job)
                self._looked = 0.0  # see first whether it is still there
                return
            busy[best] += worker.machines if job.whole else 1

    def _start(self, job: Job, worker: Worker, flights: dict[str, Flight]) -> bool:
        name = f"kstep-{uuid.uuid4().hex}"
        try:
            function, arguments = job.call(self._provide(job.inputs, worker))
            future = self._client.submit(
                function,
                self._client.id,
                name,
                *arguments,
                key=name,
                workers=[worker.address],
                pure=False,
                retries=0,
            )
        except (*GONE, MachineryError) as error:
            if isinstance(error, MachineryError) and not error.__cause__:
                raise
            self._say(f"{worker.name}: {_reason(error)}")
            self._unfit[worker.id] = time.monotonic() + AGAIN
            return False
        flights[name] = Flight(job, worker, future)
        return True

    def _listen(self, waiting: deque[Job], flights: dict[str, Flight]) -> None:
        """Wait for a word, and hear it and all that have come with it."""
        try:
            first = self._words.get(timeout=LOOK / 4)
        except queue.Empty:
            return
        self._hear(*first, waiting, flights)
        self._hear_all(waiting, flights)

    def _hear_all(self, waiting: deque[Job], flights: dict[str, Flight]) -> None:
        while not self._words.empty():
            self._hear(*self._words.get(), waiting, flights)

    def _hear(
        self, name: str, pickled: bytes, waiting: deque[Job], flights: dict[str, Flight]
    ) -> None:
        flight = flights.get(name)
        if flight is None:
            return  # it was given up
        said = _read(pickled)
        job, worker = flight.job, flight.worker
        match said:
            case word.Done():
                del flights[name]
                if flight.over is not None:
                    flight.over()
            case word.Missing(key):
                self._holders[key].clear()
                flight.over = partial(waiting.appendleft, job)
            case word.Unfit(why):
                self._unfit[worker.id] = time.monotonic() + AGAIN
                self._say(f"{worker.name}: gets nothing for now: {why}")
                flight.over = partial(self._give_back, job, why, waiting)
            case word.Died(why):
                if job.died(f"{worker.name}: {why}"):
                    flight.over = partial(waiting.appendleft, job)
            case _:
                self._note(said, flight)

    def _note(self, said: word.Word, flight: Flight) -> None:
        """Take a word that does not end its attempt."""
        worker = flight.worker
        match said:
            case word.Said(text):
                self._say(f"{worker.name}: {text}")
            case word.Shipped(key, size):
                self._holders[key].add(worker.id)
                self.shipped.add(
                    next(p.kind for p in flight.job.inputs.values() if p.key == key), size
                )
            case _:
                flight.began = True
                if isinstance(said, word.Ended):
                    self.shipped.add("cells", sum(map(len, said.files.values())))
                flight.job.hear(said, worker)

    def _give_back(self, job: Job, why: str, waiting: deque[Job]) -> None:
        job.returns += 1
        if job.returns < MOST_RETURNS:
            waiting.appendleft(job)
        else:
            job.give_up(f"{job.returns} workers could not go on: {why}")

    def _end(self, flights: dict[str, Flight]) -> None:
        """Have the workers end what is under way, and wait until they have."""
        if not flights or self._client is None:
            return
        with contextlib.suppress(*GONE):
            for flight in flights.values():
                flight.future.cancel()
            deadline = Deadline.after(GRACE)
            while flights and deadline.left and self._client.status == "running":
                with contextlib.suppress(queue.Empty):
                    name, pickled = self._words.get(timeout=LOOK)
                    if isinstance(_read(pickled), word.Done):
                        flights.pop(name, None)
                if time.monotonic() - self._looked > LOOK and self._look():
                    for name in [n for n, f in flights.items() if f.worker.id not in self._workers]:
                        del flights[name]

    # -- what a Scheduler does

    def run(
        self,
        boots: Sequence[Boot],
        toolchain: Toolchain,
        folder: Path,
        on_start: Callable[[Cell], None],
        on_result: Callable[[Result], None],
    ) -> None:
        """Run all boots; see Scheduler."""
        if not boots:
            return
        self._await_workers(toolchain)
        self.carry_out(
            _BootJob(Pending.of(boot), self._parcels, folder, self._say, on_start, on_result)
            for boot in boots
        )
        self._say(f"cluster: sent {self.shipped}")

    def build(self, families: Sequence[Family]) -> list[Built]:
        """Build kernels on the workers, and bring them here; those that are here are not built."""
        jobs = [
            _BuildJob(family, self._cache, self._bring, self._say, self._holders)
            for family in families
        ]
        left = [job for job in jobs if job.left]
        if left:
            many = sum(len(job.left) for job in left)
            with families[0].builder.progress.task("kernels", many, "kernels") as task:
                for job in left:
                    job.on_built = partial(task.advance, 1)
                for tools, group in itertools.groupby(left, key=attrgetter("toolchain")):
                    self._await_workers(tools)
                    self.carry_out(group)
        return [built for job in jobs for built in job.built]


def _put(
    words: queue.SimpleQueue[tuple[str, bytes]], event: tuple[float, Mapping[str, Any]]
) -> None:
    _, message = event
    if "attempt" in message:
        words.put((message["attempt"], message["word"]))


def _read(pickled: bytes) -> word.Word:
    said: word.Word = pickle.loads(pickled)  # noqa: S301 -- of a worker, which runs what it is sent
    return said


def _reason(error: BaseException | None) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:160]


class _BootJob(Job):
    """A boot; its files go into ``folder``."""

    def __init__(
        self,
        pending: Pending,
        parcels_of: Callable[[Boot], Mapping[Path, Parcel]],
        folder: Path,
        say: Callable[[str], None],
        on_start: Callable[[Cell], None],
        on_result: Callable[[Result], None],
    ) -> None:
        self._pending, self._parcels_of, self._folder = pending, parcels_of, folder
        self._say, self._on_start, self._on_result = say, on_start, on_result
        self._cell: Cell | None = None  # the last that began

    @property
    def title(self) -> str:
        """The first cell without a result."""
        cell = self._pending.cells[0]
        return f"{cell.variant} {cell.name}"

    @property
    def inputs(self) -> Mapping[Path, Parcel]:
        """See Job."""
        return self._parcels_of(self._pending.boot)

    def call(self, sources: Mapping[str, list[str]]) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """See Job."""
        self._cell = None
        return far.run_boot, (self._pending.rest, dict(self.inputs), sources)

    def hear(self, said: word.Word, by: Worker) -> None:
        """See Job."""
        if isinstance(said, word.Began):
            self._cell = said.cell
            self._on_start(said.cell)
        elif isinstance(said, word.Ended) and said.result.cell in self._pending.cells:
            own = self._folder / layout.cell_folder(said.result.cell)
            earlier = own / layout.EARLIER
            runner.empty(own, layout.EARLIER if earlier.exists() else "")
            word.place(said.files, self._folder, own)
            result = replace(said.result, host=by.name)
            self._on_result(self._pending.take(result))

    def died(self, why: str) -> bool:
        """See Job."""
        return self._pending.died(why, self._folder, self._say, self._on_result, self._cell)

    def give_up(self, why: str) -> None:
        """See Job."""
        for cell in list(self._pending.cells):
            lost = Result(cell, Outcome.ERROR, Signature.INFRASTRUCTURE, why)
            self._on_result(self._pending.take(lost))


class _BuildJob(Job):
    """The kernels of a family that are not in the cache here."""

    whole = True

    def __init__(
        self,
        family: Family,
        cache: Cache,
        bring: Callable[[Worker, Parcel, Path], None],
        say: Callable[[str], None],
        holders: Mapping[str, set[str]],
    ) -> None:
        self._family, self._cache, self._bring, self._say = family, cache, bring, say
        self._holders = holders
        self._kernels: dict[int, Kernel | MachineryError] = {}
        self._deaths: list[str] = []
        self.on_built: Callable[[], None] = lambda: None
        for number, wanted in enumerate(family.kernels):
            if (cache.root / "kernels" / self._key(wanted)).is_dir():
                self._kernels[number] = family.builder.build(
                    wanted.sources, wanted.title, apart=wanted.apart
                )

    def _key(self, wanted: Wanted) -> str:
        builder = self._family.builder
        return kernels.key(
            builder.tree, builder.kconfig, wanted.sources.digest, builder.compiler_version
        )

    @property
    def left(self) -> list[int]:
        """The kernels that are neither here nor impossible, by their numbers."""
        return [n for n in range(len(self._family.kernels)) if n not in self._kernels]

    @property
    def built(self) -> list[Built]:
        """What came of each."""
        return [
            self._family.built(wanted, self._kernels[number])
            for number, wanted in enumerate(self._family.kernels)
        ]

    @property
    def title(self) -> str:
        """See Job."""
        return self._family.title

    @property
    def toolchain(self) -> Toolchain:
        """What builds it."""
        return self._family.builder.toolchain

    @property
    def _tree(self) -> Tree:
        return self._family.builder.tree

    @property
    def inputs(self) -> Mapping[Path, Parcel]:
        """See Job."""
        source = self._tree.source
        return {source: Parcel(self._tree.sha256[:16], source.name, "trees")}

    def call(self, sources: Mapping[str, list[str]]) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """See Job."""
        builder = self._family.builder
        wanted = self._family.kernels
        order = far.Order(
            tree=replace(self._tree, source=Path()),
            kconfig=builder.kconfig,
            compiler=builder.compiler,
            version=builder.compiler_version,
            kernels=tuple(
                (n, wanted[n].sources, wanted[n].title, wanted[n].apart) for n in self.left
            ),
        )
        (source,) = self.inputs.values()
        return far.run_build, (order, source, sources)

    def hear(self, said: word.Word, by: Worker) -> None:
        """See Job."""
        if not isinstance(said, word.Built):
            return
        if said.kernel is None and said.failure is not None:
            message, signature, details = said.failure
            failed = BuildError(message, signature, details)
            self._say("\n  ".join((message, *details)))
            self._kernels[said.number] = failed
            self.on_built()
        elif said.kernel is not None:
            key = said.kernel.key
            try:
                folder = self._cache.entry(
                    "kernels", key, lambda into: self._bring(by, Parcel(key, key, "kernels"), into)
                )
            except (*GONE, MachineryError) as error:
                self._say(f"{by.name}: cannot fetch kernel {key}: {_reason(error)}")
                return
            self._holders[key].add(by.id)
            self._kernels[said.number] = replace(said.kernel, folder=folder)
            self.on_built()

    def died(self, why: str) -> bool:
        """See Job."""
        if not self.left:
            return False
        self._deaths.append(why)
        if len(self._deaths) < MOST_WORKERS:
            self._say(f"{self.title}: a worker was lost ({why}); another one builds what is left")
            return True
        self.give_up(f"{MOST_WORKERS} workers were lost in this build: {'; '.join(self._deaths)}")
        return False

    def give_up(self, why: str) -> None:
        """See Job."""
        self._say(f"{self.title}: {why}; given up")
        for number in self.left:
            self._kernels[number] = MachineryError(f"{self._family.kernels[number].title}: {why}")
