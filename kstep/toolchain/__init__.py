# SPDX-License-Identifier: GPL-2.0-only
"""Where the compiler, the emulator and gdb run: in a container, or on the host.

A patch under review is untrusted code, and a kernel build runs parts of it (Makefiles, host
programs). In the container a build has no network, no capabilities and no root; on the host it
has all that the user has. So ``auto`` chooses ``docker`` if an engine answers.

Paths are the same inside the container and outside, so a message means the same on
either side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import docker
from kstep.base.errors import MachineryError, RequestError
from kstep.toolchain.compiler import CROSS, GCC, Compiler
from kstep.toolchain.container import LABEL, DockerToolchain, engine_fault
from kstep.toolchain.host import HostToolchain
from kstep.toolchain.interface import (
    CommandError,
    LimitError,
    Process,
    Toolchain,
    Versions,
    ignore,
)

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.base.progress import Progress

__all__ = [
    "CROSS",
    "GCC",
    "LABEL",
    "CommandError",
    "Compiler",
    "DockerToolchain",
    "HostToolchain",
    "LimitError",
    "Process",
    "Toolchain",
    "Versions",
    "choose",
    "engine_fault",
    "ignore",
]


def choose(kind: str, docker_folder: Path, progress: Progress) -> Toolchain:
    """Return the toolchain ``docker``, ``host``, or for ``auto`` the first that is available.

    Raises MachineryError if ``docker`` is requested and no engine answers, or if missing packages
    may not be installed here.
    """
    if kind not in ("auto", "docker", "host"):
        raise RequestError(f"--toolchain {kind}: must be auto, docker or host")
    if kind == "host":
        return HostToolchain.ready(docker_folder, "requested", progress)
    if fault := engine_fault():
        if kind == "docker":
            raise MachineryError(
                f"--toolchain docker: no Docker engine answers ({fault});"
                " start one, or use --toolchain host"
            )
        return HostToolchain.ready(docker_folder, f"no Docker engine answers: {fault}", progress)
    why = "requested" if kind == "docker" else "a Docker engine answers"
    return DockerToolchain.ready(docker.from_env(timeout=600), docker_folder, why, progress)
