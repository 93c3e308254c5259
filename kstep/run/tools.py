# SPDX-License-Identifier: GPL-2.0-only
"""The tools of one suite in a run: where they run, their versions, and the guest made with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from kstep.build import initramfs
from kstep.toolchain import GCC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.build.initramfs import Initramfs
    from kstep.toolchain import Compiler, Toolchain, Versions


@dataclass(frozen=True)
class Tools:
    """The tools of a suite, which is empty if none was asked for.

    ``versions`` are by the name of the compiler, in the order in which they were asked for.
    """

    suite: str
    toolchain: Toolchain
    versions: Mapping[str, Versions]
    initramfs: Initramfs

    @classmethod
    def make(
        cls,
        suite: str,
        toolchain: Toolchain,
        compilers: Sequence[Compiler],
        programs: Path,
        cache: Cache,
        progress: Progress,
    ) -> Self:
        """Ask the tools for their versions, and make the guest from the ``programs``.

        The guest's programs are compiled by gcc, whatever compiles the kernels.
        """
        versions = {each.name: toolchain.versions(each) for each in compilers}
        gcc = versions.get(GCC.name) or toolchain.versions(GCC)
        guest = initramfs.make(programs, toolchain, gcc.compiler, cache, progress)
        return cls(suite, toolchain, versions, guest)
