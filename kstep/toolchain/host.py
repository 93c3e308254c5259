# SPDX-License-Identifier: GPL-2.0-only
"""The toolchain of this machine: the same packages, installed here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.errors import MachineryError, RequestError
from kstep.toolchain import apt, reaper
from kstep.toolchain.interface import CommandError, LimitError, Process, Toolchain, family, ignore
from kstep.toolchain.limits import watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kstep.base.progress import Progress
    from kstep.toolchain.limits import Limits

LINE = 1 << 16  # bytes of one line of output, at most
# A child ends with its parent, however the parent ends: PR_SET_PDEATHSIG of prctl(2).
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
# What is kept of the user's environment: paths of programs, home and temporary files, and access
# to the network and apt's archives. KCFLAGS, LOCALVERSION, LLVM, MAKEFLAGS, GIT_DIR and others
# would change the kernel without changing its key; a container has none of them.
KEPT = (
    "PATH",
    "HOME",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "APT_CONFIG",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8"}


class HostProcess(Process):
    """A child of this process, in a session of its own."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self._child = child
        self._log = log

    def alive(self) -> bool:
        """Whether the child runs."""
        return self._child.poll() is None

    def output(self) -> str:
        """Return the end of what the child printed."""
        try:
            return self._log.read_text(errors="replace")[-4096:]
        except FileNotFoundError:
            return ""

    def processes(self) -> list[int]:
        """Return the child and what it has started."""
        return family(self._child.pid)

    def kill(self) -> None:
        """Kill the child and wait for it."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._log.unlink(missing_ok=True)


class HostToolchain(Toolchain):
    """The same packages, installed on this machine."""

    kind = "host"
    contains = False

    @classmethod
    def ready(
        cls,
        docker_folder: Path,
        why: str,
        progress: Progress,
        suite: str = "",
        further: Sequence[str] = (),
    ) -> HostToolchain:
        """Check the packages, ``further`` ones too, and install what is missing if allowed.

        Raises RequestError if the host is not of the ``suite`` that is asked for.
        """
        wanted = [*(docker_folder / "packages.txt").read_text().split(), *further]
        try:
            apt.own_sources()
        except MachineryError as error:
            raise MachineryError(
                f"--toolchain host: {error}; it needs Debian 12 or later, with an archive of that"
                " release in /etc/apt; or use --toolchain docker"
            ) from error
        if suite and suite != apt.own_release():
            raise RequestError(
                f"--suite {suite}: the host's tools are of Debian {apt.own_release()}, and"
                f" --toolchain docker is not used ({why}); use it, or leave --suite out"
            )
        apt.install(wanted, progress)
        return cls(why)

    @property
    def debian(self) -> str:
        """The release of this machine; see Toolchain."""
        return apt.own_release()

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),  # noqa: ARG002 -- no sandbox here
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,  # noqa: ARG002
        limits: Limits | None = None,
        at: Mapping[Path, Path] | None = None,
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run a command as a child; it and its children end with this process."""
        if any(name != path for name, path in (at or {}).items()):
            raise MachineryError("the host's toolchain cannot show a folder at another path")
        with subprocess.Popen(
            [*DIE_WITH_PARENT, *argv],
            cwd=cwd,
            env={**_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child:
            tail: deque[str] = deque(maxlen=200)
            assert child.stdout is not None  # noqa: S101 -- it is a PIPE

            def end() -> None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)

            try:
                with reaper.group(child.pid), watched(limits, writable, end) as watch:
                    while raw := child.stdout.readline(LINE):
                        line = raw.decode(errors="replace").rstrip("\n")
                        tail.append(line)
                        watch.heard()
                        on_line(line)
            except BaseException:
                end()
                raise
        if watch.reason:
            raise LimitError(argv, watch.reason, tail)
        if child.returncode:
            raise CommandError(argv, child.returncode, tail)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),  # noqa: ARG002 -- no sandbox here
        writable: Sequence[Path] = (),  # noqa: ARG002
        lines: Sequence[Path] = (),  # noqa: ARG002
        devices: Sequence[Path] = (),  # noqa: ARG002
    ) -> Process:
        """Start a child in a session of its own."""
        handle, name = tempfile.mkstemp(prefix=temporary.prefix(), suffix=".log")
        try:
            child = subprocess.Popen(
                [*DIE_WITH_PARENT, *argv],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                start_new_session=True,
            )
        finally:
            os.close(handle)
        return HostProcess(child, Path(name))
