# SPDX-License-Identifier: GPL-2.0-only
"""A worker whose QEMU is played: ``dask worker ... --preload tests.cluster.worker``.

All else is a worker's own: its processes, its cache, what it fetches and what it says. Its cache
is $KSTEP_CACHE, its QEMU the one on PATH.
"""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from kstep.cluster import worker as far
from kstep.cluster.worker import dask_teardown
from kstep.toolchain import HostToolchain, Versions, compiler

if TYPE_CHECKING:
    from kstep.toolchain import Compiler
    from kstep.toolchain.emulator import Emulator

__all__ = ["Played", "dask_setup", "dask_teardown"]


class Played(HostToolchain):
    """The host's toolchain, of which only QEMU is used."""

    def __init__(self, why: str = "a test") -> None:
        super().__init__(why)

    @property
    def debian(self) -> str:
        """No release: nothing is installed."""
        return "none"

    def versions(self, *_: Compiler | Emulator) -> Versions:
        """Return the versions of what is not there."""
        return Versions("gcc", "ld", os.environ.get("KSTEP_TEST_QEMU", "qemu"), "gdb")


async def dask_setup(worker: Any) -> None:  # noqa: ANN401 -- dask's
    """Make a worker of dask one of kstep's, with that toolchain."""
    played = SimpleNamespace(choose=lambda *_: Played(), compiler=compiler)
    setattr(far, "toolchains", played)  # noqa: B010 -- played
    await far.dask_setup(worker)
