# SPDX-License-Identifier: GPL-2.0-only
"""The toolchain in a container: Debian's packages in an image, one container per command.

The machines of a worker share one, see room.

A build there has no network, no capabilities and no root.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors
from docker.types import LogConfig

import docker
from kstep.base import owner, temporary
from kstep.base.deadline import Deadline
from kstep.toolchain.engine import FAULTS, EngineError, Traits, asked
from kstep.toolchain.image import ready_image
from kstep.toolchain.interface import (
    Bay,
    CommandError,
    LimitError,
    Process,
    Toolchain,
    family,
    ignore,
)
from kstep.toolchain.limits import GIB, watched
from kstep.toolchain.room import Room
from kstep.toolchain.suite import USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from docker.models.containers import Container

    from kstep.base.progress import Progress
    from kstep.toolchain.limits import Limits

# The process that a container belongs to. An older kstep's label was kstep.process, and it removed
# every container whose label it could not read.
LABEL = "kstep.owner"
LOG = {"max-size": "64m", "max-file": "2"}  # bounds what endless output takes of the engine's disk
LINE = 1 << 16  # bytes of one line of output, at most
UNPRIVILEGED = 1000  # the user who builds if kstep itself is root
# The engine closes a container's standard input when the process that attached to it is gone,
# even by SIGKILL. That ends the command, and the container with it.
UNTIL_INPUT_ENDS = """\
exec 3<&0
"$@" 3<&- </dev/null &
command=$!
{ cat <&3 >/dev/null; kill -KILL $command; } &
exec 3<&-
wait $command
"""
BOUND = ("sh", "-c", UNTIL_INPUT_ENDS, "sh")
ENDED = ("exited", "dead")
# Statuses of a command that SIGKILL or SIGTERM ended: an engine that stops ends its containers.
STOPPED_BY_OTHERS = (128 + signal.SIGKILL, 128 + signal.SIGTERM)
STOPPING = 4.0  # seconds that an engine still answers after it has ended its containers
FORGOTTEN = timedelta(hours=1)  # a living kstep removes a container within seconds of its end


class DockerProcess(Process):
    """A started container, which runs at most as long as this process does."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._pid: int | None = None
        try:
            with asked():
                self._input: Any = container.attach_socket(params={"stdin": 1, "stream": 1})
                container.start()
                container.reload()
        except BaseException:
            self._remove()
            raise

    def alive(self) -> bool:
        """Whether the container runs; raises EngineError if the engine does not answer."""
        with asked():
            try:
                self._container.reload()
            except docker.errors.NotFound:
                return False
        return str(self._container.status) == "running"

    def write(self, data: bytes) -> None:
        """Write to the standard input of its first process; EngineError if that is closed."""
        try:
            # Mostly a SocketIO (docker.APIClient), which can only be read, and wraps a socket.
            getattr(self._input, "_sock", self._input).sendall(data)
        except OSError as error:
            raise EngineError(f"the Docker engine hung up: {error}") from error

    def output(self) -> str:
        """Return the end of the container's log."""
        try:
            log = self._container.logs(tail=40)
        except FAULTS:
            return ""
        return log.decode(errors="replace")[-4096:]

    def processes(self) -> list[int]:
        """Return what runs in the container; empty if the engine has another PID namespace."""
        if self._pid is None:
            self._pid = self._visible()
        return family(self._pid) if self._pid else []

    def _visible(self) -> int:
        """Return the PID of the container's first process, 0 if it is not visible here."""
        pid = int(self._container.attrs["State"].get("Pid", 0))
        try:
            groups = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return 0
        return pid if str(self._container.id) in groups else 0

    def stop(self) -> None:
        """End what runs in the container, but keep the container for inspection."""
        with contextlib.suppress(*FAULTS):
            self._container.kill()

    def kill(self) -> None:
        """Remove the container, running or not; another process may be removing it too."""
        self._remove()
        self._input.close()

    def _remove(self) -> None:
        """Remove it; if no engine answers, end what runs in it, which outlives a killed engine."""
        try:
            self._container.remove(force=True)
        except docker.errors.APIError:  # it is gone
            pass
        except FAULTS:
            if first := self._visible():
                with contextlib.suppress(OSError):  # of another user
                    os.kill(first, signal.SIGKILL)  # and with it its PID namespace


class DockerToolchain(Toolchain):
    """The image of docker/Dockerfile, one container per command."""

    kind = "docker"
    contains = True
    debian = USUAL

    def __init__(
        self,
        image: str,
        digest: str,
        why: str,
        debian: str = USUAL,
        traits: Traits = Traits(),  # noqa: B008 -- frozen
    ) -> None:
        super().__init__(why)
        self._keeps = False
        self._room: Room | None = None
        self._room_sees: tuple[frozenset[Path], tuple[Path, ...]] = (frozenset(), ())
        self.debian = debian
        self.image = image
        self.image_digest = digest
        self._traits = traits
        self._root = os.getuid() == 0
        self._uid = UNPRIVILEGED if self._root else os.getuid()
        self._gid = UNPRIVILEGED if self._root else os.getgid()
        # In a rootless engine's user namespace, the user who runs it is root, and has no more
        # rights outside than before; all other users there own nothing of this machine's.
        self._user = "0:0" if traits.rootless else f"{self._uid}:{self._gid}"

    def __reduce__(self) -> tuple[type[DockerToolchain], tuple[str, str, str, str, Traits]]:
        # A worker process makes its own connection to the engine.
        digest = self.image_digest or ""
        return (DockerToolchain, (self.image, digest, self.why, self.debian, self._traits))

    @classmethod
    def ready(
        cls,
        client: docker.DockerClient,
        folder: Path,
        why: str,
        progress: Progress,
        suite: str = USUAL,
        further: Sequence[str] = (),
    ) -> DockerToolchain:
        """Find or build the image of a suite; its tag is the hash of what it is made from.

        ``further`` are packages that it has beside those of packages.txt.
        """
        _remove_orphans(client)
        image, digest = ready_image(client, folder, suite, further, progress)
        return cls(image, digest, why, suite, Traits.of(client))

    def own(self, path: Path) -> Path:
        """Give a file or folder to the unprivileged user if kstep runs as root."""
        if self._root and not self._traits.rootless:
            os.chown(path, self._uid, self._gid, follow_symlinks=False)
        return path

    @contextlib.contextmanager
    def _client(self) -> Iterator[docker.DockerClient]:
        client = docker.from_env(timeout=600)
        try:
            yield client
        finally:
            client.close()

    def _create(
        self,
        client: docker.DockerClient,
        argv: Sequence[str],
        *,
        readable: Sequence[Path],
        writable: Sequence[Path],
        lines: Sequence[Path] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        network: bool = False,
        devices: Sequence[Path] = (),
        limits: Limits | None = None,
        at: Mapping[Path, Path] | None = None,
        kept: bool = False,
    ) -> Container:
        real = at or {}
        volumes = {str(real.get(p, p)): {"bind": str(p), "mode": "ro"} for p in readable}
        volumes |= {str(real.get(p, p)): {"bind": str(p), "mode": "rw"} for p in writable}
        for line in lines:
            volumes[str(line)] = {"bind": str(self.inside(line)), "mode": "rw"}
        return client.containers.create(
            self.image,
            list(argv),
            stdin_open=True,
            working_dir=str(cwd) if cwd else None,
            environment={"HOME": "/tmp", "LC_ALL": "C.UTF-8", **(env or {})},  # noqa: S108 -- the container's own
            user=self._user,
            volumes=volumes,
            network_mode="host" if network else "none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges", *self._traits.security_options],
            read_only=True,
            # None in one that is kept: a program could leave files there. Podman adds it.
            tmpfs={} if kept else {"/tmp": "exec,mode=1777"},  # noqa: S108 -- the container's own
            init=True,
            labels={LABEL: owner.name()},
            devices=[f"{device}:{device}:rw" for device in devices],
            group_add=[str(device.stat().st_gid) for device in devices],
            # No swap beyond it: a build that fills memory is ended, and the machine keeps working.
            mem_limit=limits.memory if limits else None,
            memswap_limit=limits.memory if limits else None,
            pids_limit=limits.processes if limits else None,
            log_config=LogConfig(type="json-file", config=LOG) if limits else None,
        )

    def unseen(self, above: Iterable[Path]) -> Path | None:
        """Return the first folder whose files do not arrive in a container, or come back from it.

        So it is if the engine runs on another machine, or outside of the container that kstep is
        in: what is mounted then is a folder of that machine. Each folder is asked for a nonce.
        """
        with contextlib.ExitStack() as stack:
            probes = {
                self.own(Path(stack.enter_context(temporary.folder(each)))): each for each in above
            }
            nonce = secrets.token_hex(16)
            for probe in probes:
                (probe / "sent").write_text(nonce)
            script = 'for each; do cat "$each/sent" >"$each/received"; done'
            argv = ["sh", "-c", script, "sh", *map(str, probes)]
            with contextlib.suppress(CommandError):
                self.run(argv, cwd=next(iter(probes)), writable=list(probes))
            for probe, folder in probes.items():
                received = probe / "received"
                if not received.is_file() or received.read_text() != nonce:
                    return folder
        return None

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        limits: Limits | None = None,
        at: Mapping[Path, Path] | None = None,
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run a command in a container of its own; EngineError if the engine ends meanwhile."""
        with asked(), self._client() as client:
            container = self._create(
                client,
                [*BOUND, *argv],
                readable=readable,
                writable=writable,
                cwd=cwd,
                env=env,
                network=network,
                limits=limits,
                at=at,
            )
            process = DockerProcess(container)
            tail: deque[str] = deque(maxlen=200)
            folders = [(at or {}).get(path, path) for path in writable]
            try:
                with watched(limits, folders, process.stop) as watch:
                    for line in _lines(container.logs(stream=True, follow=True)):
                        tail.append(line)
                        watch.heard()
                        on_line(line)
                    status = int(container.wait()["StatusCode"])
                reason = watch.reason
                if limits and status and not reason and _out_of_memory(container):
                    reason = f"more than {limits.memory / GIB:.3g} GiB of memory"
                if status in STOPPED_BY_OTHERS and not reason:
                    _require_engine(client)
            finally:
                process.kill()
        if reason:
            raise LimitError(argv, reason, tail)
        if status:
            raise CommandError(argv, status, tail)

    def end_orphans(self, *, own: bool = False) -> None:
        """Remove the containers of a process that was ended before it could; see Toolchain."""
        super().end_orphans(own=own)
        remove_orphans(own=own)

    def inside(self, line: Path) -> Path:
        """A container has a /dev/pts of its own, so the pty has another path in it."""
        return Path("/line") / line.name

    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        lines: Sequence[Path] = (),
        devices: Sequence[Path] = (),
    ) -> Process:
        """Start a container and leave it running."""
        return self._spawn([*BOUND, *argv], readable, writable, lines, devices)

    def _spawn(
        self,
        argv: Sequence[str],
        readable: Sequence[Path],
        writable: Sequence[Path],
        lines: Sequence[Path],
        devices: Sequence[Path],
        *,
        kept: bool = False,
    ) -> DockerProcess:
        for line in lines:
            self.own(line)
        with asked():
            client = docker.from_env(timeout=600)
            container = self._create(
                client,
                argv,
                readable=readable,
                writable=writable,
                lines=lines,
                devices=devices,
                kept=kept,
            )
            return DockerProcess(container)

    @contextlib.contextmanager
    def bay(self, readable: Sequence[Path], devices: Sequence[Path] = ()) -> Iterator[Bay]:
        """Have a bay for the block, in the room that is kept if one is; see Toolchain.

        The room is for any kernel and guest of a cache, so it has the folders above ``readable``.
        """
        with contextlib.ExitStack() as stack:
            if self._keeps:
                room = self._room_for(frozenset(each.parent for each in readable), devices)
                yield stack.enter_context(room.bay())
            else:
                yield stack.enter_context(super().bay(readable, devices))

    def _room_for(self, readable: frozenset[Path], devices: Sequence[Path]) -> Room:
        sees = (readable, tuple(devices))
        if self._room is None or self._room_sees != sees or not self._room.is_free():
            self.renew()
            self._room_sees = sees
            self._room = Room(
                lambda argv, writable, line: self._spawn(
                    argv, sorted(readable), writable, [line], devices, kept=True
                ),
                self.own,
                self.inside,
            )
        return self._room

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep a container for one machine after another during the block; see Toolchain."""
        self._keeps = True
        try:
            yield
        finally:
            self._keeps = False
            self.renew()

    def renew(self) -> None:
        """End the container that is kept, so that the next machine gets another."""
        room, self._room = self._room, None
        if room is not None:
            room.close()


def _require_engine(client: docker.DockerClient) -> None:
    """Raise what the client does if the engine is stopping; it answers for a moment more."""
    deadline = Deadline.after(STOPPING)
    while deadline.left:
        client.ping()
        time.sleep(0.2)


def _out_of_memory(container: Container) -> bool:
    """Whether the kernel ended one of its processes because memory ran out."""
    container.reload()
    return bool(container.attrs["State"]["OOMKilled"])


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Split a stream of chunks into lines, and lines without end into pieces of LINE bytes."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        while len(rest) >= LINE:
            whole.append(rest[:LINE])
            rest = rest[LINE:]
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def remove_orphans(*, own: bool = False) -> bool:
    """Remove containers whose kstep was killed before it could; with ``own`` also this process's.

    Returns whether an engine answered. One that was killed leaves containers to the next one.
    """
    try:
        client = docker.from_env(timeout=600)
    except docker.errors.DockerException:
        return False
    try:
        _remove_orphans(client, own=own)
    except FAULTS:
        return False
    finally:
        client.close()
    return True


def _remove_orphans(client: docker.DockerClient, *, own: bool = False) -> None:
    mine = owner.name() if own else None
    # Another kstep may remove one of its own after the list was made.
    listed = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    for container in listed:
        of = container.labels.get(LABEL, "")
        if of == mine or owner.is_gone(of) or _is_forgotten(container):
            with contextlib.suppress(docker.errors.APIError):
                container.remove(force=True)


def _is_forgotten(container: Container) -> bool:
    """Whether a container ended so long ago that its kstep must be gone too, wherever it ran."""
    before = (datetime.now(UTC) - FORGOTTEN).isoformat(timespec="seconds")
    seconds = len("2026-01-01T00:00:00")
    ended = str(container.attrs["State"]["FinishedAt"])[:seconds]
    return container.status in ENDED and ended < before[:seconds]
