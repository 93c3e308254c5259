# SPDX-License-Identifier: GPL-2.0-only
"""How long a run takes on a cluster of some size, and what limits it: a simulation of the run.

It simulates what ``cluster`` does: builds first, the kernels of a tree and configuration on one
host; then boots in the order of the plan, each given to the host with the most free machines, which
fetches a kernel that it lacks from one that has it; each cell's files pass through the scheduler,
and are recorded by the client, one after another. What it is fed with is measured (``Costs``).
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kstep.results.cell import CellRecord

HOST = 16  # cores of a host, if there are so many
HOUR = 3600.0


@dataclass(frozen=True)
class Costs:
    """What a part of a run takes: seconds and bytes; of CPU time where it says so.

    Measured in November 2026 on two cores of a virtual x86-64 machine, with Linux 6.1 and the
    base configuration; docs/cluster.md has the commands.
    """

    full_build: float = 620.0  # CPU seconds of a tree and configuration's first kernel
    variant_build: float = 12.0  # CPU seconds of each further one
    serial_build: float = 25.0  # seconds of a build that further cores do not shorten
    tree_bytes: float = 281e6  # of a source, as it is sent
    kernel_bytes: float = 26.2e6  # of a kernel, likewise
    cell_bytes: float = 5.2e3  # of a cell's console, trace and result, likewise
    link: float = 1e9 / 8  # bytes a second of a host, the scheduler and the client: 1 Gbit/s
    schedule: float = 0.0007  # CPU seconds of the scheduler for a cell
    record: float = 0.0021  # CPU seconds of the client for a cell
    start: float = 0.01  # seconds from a machine's end to the next boot's begin


@dataclass(frozen=True)
class Load:
    """What is run: ``boots`` are the seconds of the cells of each, kernel by kernel.

    ``families`` has the number of kernels of each tree and configuration.
    """

    families: Sequence[int]
    boots: Sequence[tuple[int, Sequence[float]]]

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return sum(len(cells) for _, cells in self.boots)

    @classmethod
    def matrix(
        cls, families: int, variants: int, sessions: Iterable[Sequence[float]], repeats: int
    ) -> Load:
        """Every variant of every tree and configuration, all sessions; seconds of their cells."""
        once = list(sessions)
        boots = [
            (kernel, cells)
            for kernel in range(families * variants)
            for cells in once
            for _ in range(repeats)
        ]
        return cls([variants] * families, boots)

    @classmethod
    def all(cls, parts: Iterable[Load]) -> Load:
        """Add loads up, one after another."""
        families: list[int] = []
        boots: list[tuple[int, Sequence[float]]] = []
        for part in parts:
            first = sum(families)
            boots += [(first + kernel, cells) for kernel, cells in part.boots]
            families += part.families
        return cls(families, boots)

    @classmethod
    def of(cls, cells: Iterable[CellRecord]) -> Load:
        """The cells of a run, whose kernels are there already."""
        boots: dict[tuple[object, ...], list[float]] = {}
        for each in cells:
            cell = each.cell
            key = (cell.column, cell.session, cell.repeat)
            boots.setdefault(key, []).append(each.seconds)
        kernels: dict[tuple[object, ...], int] = {}
        return cls(
            [],
            [
                (kernels.setdefault(key[:1], len(kernels)), boots[key])
                for key in sorted(boots, key=str)
            ],
        )


@dataclass
class Forecast:
    """What comes of a simulation: seconds, CPU seconds, bytes sent.

    ``busy`` is the part of the time in which something that serves all was at work, by its name:
    what is near 1 is the limit.
    """

    cores: int
    build: float
    wall: float
    cpu: float
    sent: float
    busy: dict[str, float] = field(default_factory=dict)

    @property
    def limit(self) -> str:
        """What is at work the most."""
        return max(self.busy, key=self.busy.__getitem__)


@dataclass
class _Server:
    """Something that serves one after another; ``free`` is when it can serve the next."""

    free: float = 0.0
    busy: float = 0.0

    def serve(self, at: float, seconds: float) -> float:
        """Serve something that comes at a time; returns when that is done."""
        self.free = max(self.free, at) + seconds
        self.busy += seconds
        return self.free


def simulate(load: Load, cores: int, costs: Costs) -> Forecast:
    """Run it on hosts of HOST cores, or on one of fewer."""
    size = min(cores, HOST)
    links = [_Server() for _ in range(max(1, cores // HOST))]
    scheduler, client = _Server(), _Server()
    build, builders, work = _build(load, costs, size, len(links))
    holders = {kernel: [host] for kernel, host in builders.items()}
    there = dict.fromkeys(builders.items(), build)
    free = [size] * len(links)
    sent = costs.tree_bytes * len(load.families) + costs.kernel_bytes * len(builders)
    ends: list[tuple[float, int, int]] = []
    number = itertools.count()
    now = done = build
    ran = 0.0
    cells: list[float] = []
    for kernel, seconds in load.boots:
        while not any(free):
            now, _, host = heapq.heappop(ends)
            free[host] += 1
        host = max(range(len(free)), key=free.__getitem__)
        free[host] -= 1
        if (kernel, host) not in there:
            have = [each for each in holders.get(kernel, []) if there[kernel, each] <= now]
            source = links[have[next(number) % len(have)]] if have else client
            there[kernel, host] = source.serve(now, costs.kernel_bytes / costs.link)
            holders.setdefault(kernel, []).append(host)
            sent += costs.kernel_bytes
        end = max(now, there[kernel, host]) + costs.start
        for each in seconds:
            end += each
            ran += each
            cells.append(end)
        heapq.heappush(ends, (end, next(number), host))
    for end in sorted(cells):
        passed = scheduler.serve(end, costs.schedule + 2 * costs.cell_bytes / costs.link)
        done = max(done, client.serve(passed, costs.record))
    wall = max(done, max((end for end, _, _ in ends), default=build))
    running = wall - build or 1.0
    return Forecast(
        cores,
        build,
        wall,
        work + ran + load.cells * (costs.record + costs.schedule),
        sent + load.cells * costs.cell_bytes,
        {
            "cores": ran / (running * cores),
            "scheduler": scheduler.busy / running,
            "record": client.busy / running,
            "shipping": max(link.busy for link in links) / running,
        },
    )


def _build(
    load: Load, costs: Costs, size: int, hosts_there: int
) -> tuple[float, dict[int, int], float]:
    """Build all kernels; returns when that is done, who has each, and the CPU time of it.

    The client sends each tree to the host that needs it, and gets each kernel.
    """
    hosts = [(0.0, host) for host in range(hosts_there)]
    out, into = _Server(), _Server()  # both ways of the client's link
    builders: dict[int, int] = {}
    ends: list[tuple[float, int]] = []
    work, first = 0.0, 0
    for kernels in load.families:
        at, host = heapq.heappop(hosts)
        begins = max(at, out.serve(at, costs.tree_bytes / costs.link))
        of_family = costs.full_build + (kernels - 1) * costs.variant_build
        end = begins + of_family / size + costs.serial_build
        heapq.heappush(hosts, (end, host))
        ends.append((end, kernels))
        work += of_family
        builders |= dict.fromkeys(range(first, first + kernels), host)
        first += kernels
    last = 0.0
    for end, kernels in sorted(ends):
        last = into.serve(end, kernels * costs.kernel_bytes / costs.link)
    return last, builders, work


def text(load: Load, forecasts: Iterable[Forecast]) -> list[str]:
    """Print forecasts, one a line."""
    what = f"{load.cells:,} cells, {len(load.boots):,} boots"
    if load.families:
        kernels, families = sum(load.families), len(load.families)
        what += f", {kernels} kernels of {families} trees and configurations"
    head = f"{'cores':>6} {'hours':>7} {'builds':>7} {'CPU hours':>9} {'GB sent':>8}  at work"
    lines = [what, head]
    for each in forecasts:
        shares = Counter(each.busy).most_common()
        told = ", ".join(f"{name} {share:.0%}" for name, share in shares)
        lines.append(
            f"{each.cores:>6} {each.wall / HOUR:>7.2f} {each.build / HOUR:>7.2f}"
            f" {each.cpu / HOUR:>9.1f} {each.sent / 1e9:>8.1f}  {told}"
        )
    return lines
