# SPDX-License-Identifier: GPL-2.0-only
"""Where the compiler, the emulator and gdb run: in a container, or on the host.

A patch under review is untrusted code, and a kernel build runs parts of it (Makefiles, host
programs). In the container a build has no network, no capabilities and no root; on the host it
has all that the user has. So ``auto`` chooses ``docker`` if an engine answers.

Paths are the same inside the container and outside, so a message means the same on
either side.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import docker
from kstep.base.errors import MachineryError, RequestError
from kstep.toolchain import suite as suites
from kstep.toolchain.compiler import CLANG, COMPILERS, CROSS, GCC, Compiler, compiler
from kstep.toolchain.container import LABEL, DockerToolchain
from kstep.toolchain.engine import engine_fault
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
    from collections.abc import Sequence

    from kstep.base.progress import Progress

__all__ = [
    "CLANG",
    "COMPILERS",
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
    "compiler",
    "engine_fault",
    "ignore",
    "require_kind",
]


def require_kind(kind: str) -> None:
    """Raise RequestError unless a toolchain is ``kind``, or may be chosen for it."""
    if kind not in ("auto", "docker", "host"):
        raise RequestError(f"--toolchain {kind}: must be auto, docker or host")


def choose(
    kind: str,
    docker_folder: Path,
    progress: Progress,
    suite: str = "",
    compilers: Sequence[Compiler] = (GCC,),
    folders: Sequence[Path] = (),
) -> Toolchain:
    """Return the toolchain ``docker``, ``host``, or for ``auto`` the first that is available.

    It has the tools of a Debian ``suite`` (empty: whichever it has), with those ``compilers``.
    ``folders`` of this machine, and that of temporary files, must arrive in its containers.
    Raises RequestError for a suite that the host is not, MachineryError if ``docker`` is
    requested and no engine answers or a folder does not arrive, or if missing packages may not be
    installed here.
    """
    require_kind(kind)
    further = [name for each in compilers for name in each.packages]
    if kind == "host":
        return HostToolchain.ready(docker_folder, "requested", progress, suite, further)
    if fault := engine_fault():
        if kind == "docker":
            raise MachineryError(
                f"--toolchain docker: no Docker engine answers ({fault});"
                " start one, or use --toolchain host"
            )
        reason = f"no Docker engine answers: {fault}"
        return HostToolchain.ready(docker_folder, reason, progress, suite, further)
    why = "requested" if kind == "docker" else "a Docker engine answers"
    client = docker.from_env(timeout=600)
    ready = DockerToolchain.ready(
        client, docker_folder, why, progress, suite or suites.USUAL, further
    )
    if (unseen := ready.unseen([Path(tempfile.gettempdir()), *folders])) is None:
        return ready
    reason = (
        f"a Docker engine answers, but {unseen} of this machine does not arrive in its containers:"
        " the engine is elsewhere, as behind a mounted socket"
    )
    if kind == "docker":
        raise MachineryError(
            f"--toolchain docker: {reason}; mount the folder at the same path there, or use"
            " --toolchain host"
        )
    return HostToolchain.ready(docker_folder, reason, progress, suite, further)
