# SPDX-License-Identifier: GPL-2.0-only
"""What preload.c is told and tells: a disk that is full, a clock that jumps."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = Path(__file__).with_name("preload.c")
LAYOUT = struct.Struct("=5Qq4096s4096s")  # struct plan


class How(IntEnum):
    """What happens at a use of the disk."""

    NOTHING = 0
    ONCE = 1  # there is no space
    FULL = 2  # there is none from then on
    TORN = 3  # half of a write fits, and then there is none
    SHORT = 4  # half of a write is made, as write(2) may, and all goes on


@dataclass(frozen=True)
class Preload:
    """The library, and the plan of one run."""

    library: Path
    file: Path

    def plan(
        self, *folders: Path, at: int = 0, how: How = How.NOTHING, clock_at: int = 0, moved: int = 0
    ) -> None:
        """Have the disk full below ``folders``, at the use ``at``; or the clock moved."""
        names = [str(folder).encode() for folder in folders]
        names += [b""] * (2 - len(names))
        self.file.write_bytes(LAYOUT.pack(0, at, how, 0, clock_at, moved, *names))

    @property
    def env(self) -> Mapping[str, str]:
        """What a process needs to be met by it."""
        return {"LD_PRELOAD": str(self.library), "KSTEP_FAULTS": str(self.file)}

    @property
    def uses(self) -> int:
        """How often the disk was used."""
        return int(LAYOUT.unpack(self.file.read_bytes())[0])

    @property
    def clock_reads(self) -> int:
        """How often the clock was read."""
        return int(LAYOUT.unpack(self.file.read_bytes())[3])


def compiled(folder: Path) -> Path:
    """Compile the library into a folder; skips the test if this host has no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler of this host: apt install gcc")
    library = folder / "preload.so"
    options = ["-shared", "-fPIC", "-Wall", "-Werror", "-O1"]
    argv = [compiler, *options, "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(argv, check=True)
    return library
