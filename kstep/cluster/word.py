# SPDX-License-Identifier: GPL-2.0-only
"""What a worker of a cluster tells the kstep that gave it a boot or a build.

Each word is of one attempt: a job given to a worker once. Words of an attempt arrive in order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kstep.base.outcome import Signature
    from kstep.build.kernel import Kernel
    from kstep.results.cell import Cell
    from kstep.run.boot import Result


@dataclass(frozen=True)
class Shipped:
    """The worker has fetched a parcel of so many bytes, and can pass it on."""

    key: str
    size: int


@dataclass(frozen=True)
class Missing:
    """None of the workers that should have a parcel gave it; nothing was run."""

    key: str


@dataclass(frozen=True)
class Began:
    """A cell begins."""

    cell: Cell


@dataclass(frozen=True)
class Ended:
    """A cell's result, and its files by their paths relative to a run's folder, compressed."""

    result: Result
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Started:
    """The worker has all that a build needs, and begins it."""


@dataclass(frozen=True)
class Said:
    """A line for the user."""

    text: str


@dataclass(frozen=True)
class Built:
    """A kernel of a build, by its number there, or why it could not be built.

    ``failure`` has the message, the signature and the details of the BuildError.
    """

    number: int
    kernel: Kernel | None
    failure: tuple[str, Signature, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Died:
    """The process that ran the boot died, and why; the worker has another one."""

    why: str


@dataclass(frozen=True)
class Unfit:
    """The worker cannot go on, through no fault of the job: its disk is full."""

    why: str


@dataclass(frozen=True)
class Done:
    """The attempt is over: no word follows, and nothing of it runs."""


Word = Shipped | Missing | Started | Began | Ended | Said | Built | Died | Unfit | Done


def collect(folder: Path, below: Path) -> dict[str, bytes]:
    """Read the files below a folder, compressed, by their paths relative to ``folder``."""
    return {
        str(path.relative_to(folder)): zlib.compress(path.read_bytes(), 1)
        for path in sorted(below.rglob("*"))
        if path.is_file()
    }


def place(files: Mapping[str, bytes], folder: Path, below: Path) -> int:
    """Write what collect() read; returns its size in bytes. Paths outside ``below`` are refused.

    Raises OSError if the disk is full, and ValueError for such a path.
    """
    for name, content in files.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(below.resolve()):
            raise ValueError(f"{name}: not in {below}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zlib.decompress(content))
        if path.suffix == ".sh":
            path.chmod(0o755)
    return sum(map(len, files.values()))
