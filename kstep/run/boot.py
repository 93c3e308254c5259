# SPDX-License-Identifier: GPL-2.0-only
"""A boot as data: the cells that share a machine, the files that it reads, its results.

Nothing here runs anything. A Boot and the Results of its cells can be pickled, so that any
scheduler can run them, on this machine or another.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kstep.results.cell import Try

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kstep.base.outcome import Outcome, Signature
    from kstep.build.emulated_host import HostImage
    from kstep.build.kernel import Kernel
    from kstep.machine.line import Line
    from kstep.results.cell import Cell
    from kstep.toolchain.accel import Accel


@dataclass(frozen=True)
class Input:
    """A file or folder that a boot reads; two of one ``key`` have the same content."""

    path: Path
    key: str


@dataclass(frozen=True)
class Boot:
    """Cells that share a boot, and what they need.

    ``kernel`` is its folder in the cache, ``initramfs`` a file, ``sessions`` the folder of
    the scripts; ``own`` is the script if it is the user's, outside that folder. ``line`` is
    the serial line of the external machine, if there is one, and ``host`` the emulated host if
    the machine is its guest. ``tried`` are cells that have had one try already, without a
    verdict: they get only one more.
    """

    cells: tuple[Cell, ...]
    kernel: Kernel
    initramfs: Path
    sessions: Path
    accel: Accel
    line: Line | None = None
    host: HostImage | None = None
    own: Path | None = None
    tried: frozenset[Cell] = frozenset()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it reads: folders of the kernel and the host, initramfs, sessions, ``own``.

        Apart from kstep itself and the toolchain it reads nothing else. To run it elsewhere,
        copy these and name the new paths with ``moved``.
        """
        scripts = hashlib.sha256()
        for path in sorted(self.sessions.glob("*.py")):
            scripts.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        files = [self.initramfs] if self.own is None else [self.initramfs, self.own]
        return (
            Input(self.kernel.folder, self.kernel.key),
            *(() if self.host is None else (Input(self.host.folder, self.host.folder.name),)),
            Input(self.sessions, scripts.hexdigest()),
            *(Input(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files),
        )

    def moved(self, paths: Mapping[Path, Path]) -> Boot:
        """Return the same boot, with the inputs that ``paths`` names at their new paths."""
        return replace(
            self,
            kernel=replace(self.kernel, folder=paths.get(self.kernel.folder, self.kernel.folder)),
            host=self.host
            and replace(self.host, folder=paths.get(self.host.folder, self.host.folder)),
            initramfs=paths.get(self.initramfs, self.initramfs),
            sessions=paths.get(self.sessions, self.sessions),
            own=self.own and paths.get(self.own, self.own),
        )


@dataclass(frozen=True)
class Result:
    """How a cell ended.

    ``files`` are relative to the folder that the boot ran in, and all in the cell's own folder
    below it (see layout.cell_folder()). ``boot_seconds`` is 0 if the cell used a machine that
    was already running. ``died_at_boot``: the kernel failed before it was up. ``silent`` counts
    the tries, each on a fresh machine, in which it was not up in time and printed no reason.
    ``earlier`` are tries of the cell that a fault of the machinery ended. ``host`` names the
    machine that ran it, if that was another one.
    """

    cell: Cell
    outcome: Outcome
    signature: Signature | None = None
    message: str = ""
    seconds: float = 0.0
    boot_seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    died_at_boot: bool = False
    silent: int = 0
    earlier: tuple[Try, ...] = ()
    host: str = ""

    def as_earlier(self, files: Mapping[str, str]) -> Try:
        """Return this result as an earlier try, with its files where they are now."""
        return Try(
            self.outcome, self.signature, self.message, self.seconds, self.boot_seconds, files
        )
