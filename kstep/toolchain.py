# SPDX-License-Identifier: GPL-2.0-only
"""Where compilers and QEMU run: in a container, or on this machine.

A patch under review is untrusted code, and a kernel build runs what it brings
(Makefiles, host programs). In the container a build has no network, no capabilities
and no root; on the host it has what the user has, which is why ``docker`` is taken
where an engine answers.

Paths are the same inside the container and outside, so a message means the same on
either side.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import docker.errors
import requests

import docker
from kstep import apt
from kstep.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from docker.models.containers import Container

    from kstep.progress import Progress

CROSS = "aarch64-linux-gnu-"
DEBIAN = "bookworm"  # the release that every toolchain is made of
LABEL = "kstep.process"  # the process that a container belongs to
UNPRIVILEGED = 1000  # who builds where kstep itself is root

# A child ends with its parent, however that ends: PR_SET_PDEATHSIG of prctl(2).
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


def ignore(_line: str) -> None:
    """Take a line of output and do nothing with it."""


@dataclass(frozen=True)
class Versions:
    """What compiled and ran the kernels, each as it calls itself."""

    gcc: str
    ld: str
    qemu: str
    gdb: str

    @property
    def compiler(self) -> str:
        """What a kernel's bytes depend on, and so part of its key."""
        return f"{self.gcc}; {self.ld}"


class CommandError(MachineryError):
    """A command of the toolchain ended with a status that is not 0.

    ``details`` holds the last lines that it printed.
    """

    def __init__(self, argv: Sequence[str], status: int, tail: Iterable[str]) -> None:
        super().__init__(f"{' '.join(argv[:3])} … ended with status {status}", details=tuple(tail))
        self.exit_status = status


class Process(ABC):
    """A program that was started and goes on: a machine."""

    @abstractmethod
    def alive(self) -> bool:
        """Whether it still runs."""

    @abstractmethod
    def output(self) -> str:
        """What it said on standard output and error, at most the last 4 KiB."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once and release what it held; harmless when it has ended."""


class Toolchain(ABC):
    """Runs commands with a cross compiler, QEMU and gdb on their PATH."""

    kind: ClassVar[str]
    image_digest: str | None = None

    def __init__(self, why: str) -> None:
        self.why = why

    @abstractmethod
    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run a command to its end, each line of its output given to ``on_line``.

        ``readable`` and ``writable`` are the folders that it sees (``cwd`` is one of
        them). Raises CommandError where its status is not 0.
        """

    @abstractmethod
    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        line: Path | None = None,
    ) -> Process:
        """Start a program that goes on. ``line`` is a pty that it may open as ``inside(line)``."""

    def end_orphans(self) -> None:  # noqa: B027 -- a child of the host's ends with its parent
        """End what a kstep process that is gone has left running."""

    def inside(self, line: Path) -> Path:
        """Return the name that a pty of this machine has where the program runs."""
        return line

    def own(self, path: Path) -> Path:
        """Give a file or folder, not what is in it, to the user who builds; return it."""
        return path

    def text(self, argv: Sequence[str]) -> str:
        """Return what a short command prints."""
        lines: list[str] = []
        with tempfile.TemporaryDirectory(prefix="kstep-") as scratch:
            self.run(argv, cwd=Path(scratch), readable=[Path(scratch)], on_line=lines.append)
        return "\n".join(lines)

    def versions(self) -> Versions:
        """Ask each tool for its version."""
        tools = {
            f"{CROSS}gcc": f"{CROSS}gcc",
            f"{CROSS}ld": "GNU ld",
            "qemu-system-aarch64": "QEMU",
            "gdb-multiarch": "GNU gdb",
        }
        script = "; ".join(f"{tool} --version" for tool in tools)
        said = self.text(["sh", "-c", script]).splitlines()
        first = [next((x for x in said if x.startswith(word)), "") for word in tools.values()]
        return Versions(*first)


def choose(kind: str, docker_folder: Path, progress: Progress) -> Toolchain:
    """Return the toolchain ``docker``, ``host``, or for ``auto`` the one that can be had.

    Raises MachineryError where ``docker`` is asked for and no engine answers, or where
    packages are missing that may not be installed here.
    """
    if kind not in ("auto", "docker", "host"):
        raise RequestError(f"--toolchain {kind}: it is auto, docker or host")
    if kind == "host":
        return HostToolchain.ready(docker_folder, "asked for", progress)
    if fault := engine_fault():
        if kind == "docker":
            raise MachineryError(
                f"--toolchain docker: no Docker engine answers ({fault});"
                " start one, or take --toolchain host"
            )
        return HostToolchain.ready(docker_folder, f"no Docker engine answers: {fault}", progress)
    why = "asked for" if kind == "docker" else "a Docker engine answers"
    return DockerToolchain.ready(docker.from_env(timeout=600), docker_folder, why, progress)


def engine_fault() -> str | None:
    """Return why no Docker engine answers, None where one does."""
    try:
        client = docker.from_env(timeout=20)
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return _engine_reason(error)
    client.close()
    return None


def _engine_reason(error: BaseException) -> str:
    text = str(getattr(error, "explanation", None) or error)
    for known in ("Permission denied", "No such file or directory", "Connection refused"):
        if known in text:
            return known.lower()
    return text.splitlines()[0][:120] if text else type(error).__name__


# -- in a container


class DockerProcess(Process):
    """A container that was started."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def alive(self) -> bool:
        """Whether the container runs."""
        try:
            self._container.reload()
        except docker.errors.APIError:
            return False
        return str(self._container.status) == "running"

    def output(self) -> str:
        """Return the end of the container's log."""
        try:
            log = self._container.logs(tail=40)
        except docker.errors.APIError:
            return ""
        return log.decode(errors="replace")[-4096:]

    def kill(self) -> None:
        """Remove the container, running or not; somebody else may be doing that already."""
        with contextlib.suppress(docker.errors.APIError):
            self._container.remove(force=True)


class DockerToolchain(Toolchain):
    """The image of docker/Dockerfile, one container a command."""

    kind = "docker"

    def __init__(self, image: str, digest: str, why: str) -> None:
        super().__init__(why)
        self.image = image
        self.image_digest = digest
        root = os.getuid() == 0
        self._uid = UNPRIVILEGED if root else os.getuid()
        self._gid = UNPRIVILEGED if root else os.getgid()

    def __reduce__(self) -> tuple[type[DockerToolchain], tuple[str, str, str]]:
        # A worker process makes its own connection to the engine.
        return (DockerToolchain, (self.image, self.image_digest or "", self.why))

    @classmethod
    def ready(
        cls,
        client: docker.DockerClient,
        folder: Path,
        why: str,
        progress: Progress,
    ) -> DockerToolchain:
        """Find or build the image; its tag is the hash of what it is made from."""
        _remove_orphans(client)
        recipe = hashlib.sha256()
        for path in sorted(folder.iterdir()):
            recipe.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        tag = f"kstep-toolchain:{recipe.hexdigest()[:12]}"
        try:
            image = client.images.get(tag)
        except docker.errors.ImageNotFound:
            base = _base_image(client, progress)
            with progress.task("toolchain image", unit="steps") as task:
                _build_image(client, folder, tag, base, task.note)
            image = client.images.get(tag)
        return cls(tag, str(image.id), why)

    def own(self, path: Path) -> Path:
        """Give a file or folder to the unprivileged user where kstep runs as root."""
        if os.getuid() == 0:
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
        line: Path | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        network: bool = False,
    ) -> Container:
        volumes = {str(p): {"bind": str(p), "mode": "ro"} for p in readable}
        volumes |= {str(p): {"bind": str(p), "mode": "rw"} for p in writable}
        if line is not None:
            volumes[str(line)] = {"bind": str(self.inside(line)), "mode": "rw"}
        return client.containers.create(
            self.image,
            list(argv),
            working_dir=str(cwd) if cwd else None,
            environment={"HOME": "/tmp", "LC_ALL": "C.UTF-8", **(env or {})},  # noqa: S108 -- the container's own
            user=f"{self._uid}:{self._gid}",
            volumes=volumes,
            network_mode="host" if network else "none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            read_only=True,
            tmpfs={"/tmp": "exec,mode=1777"},  # noqa: S108 -- the container's own
            init=True,
            labels={LABEL: _owner(os.getpid())},
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run a command in a container of its own."""
        with self._client() as client:
            container = self._create(
                client,
                argv,
                readable=readable,
                writable=writable,
                cwd=cwd,
                env=env,
                network=network,
            )
            try:
                container.start()
                tail: deque[str] = deque(maxlen=200)
                for line in _lines(container.logs(stream=True, follow=True)):
                    tail.append(line)
                    on_line(line)
                status = int(container.wait()["StatusCode"])
            finally:
                DockerProcess(container).kill()
        if status:
            raise CommandError(argv, status, tail)

    def end_orphans(self) -> None:
        """Remove the containers of a process that was ended before it could."""
        with self._client() as client:
            _remove_orphans(client)

    def inside(self, line: Path) -> Path:
        """A container has a /dev/pts of its own, so the pty stands elsewhere in it."""
        return Path("/line") / line.name

    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        line: Path | None = None,
    ) -> Process:
        """Start a container and leave it running."""
        if line is not None:
            self.own(line)
        client = docker.from_env(timeout=600)
        container = self._create(client, argv, readable=readable, writable=writable, line=line)
        try:
            container.start()
        except BaseException:
            DockerProcess(container).kill()
            raise
        return DockerProcess(container)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Cut a stream of chunks into lines."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _owner(pid: int) -> str:
    """Name a process so that a later one with its number has another name.

    The 22nd field of /proc/PID/stat is when it started; the 2nd, in parentheses, may hold
    blanks (proc(5)).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return f"{pid}-{stat.rpartition(')')[2].split()[19]}"


def _remove_orphans(client: docker.DockerClient) -> None:
    """Remove containers whose kstep was killed before it could."""
    # Another kstep may remove one of its own between the list and the look at each.
    listed = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    for container in listed:
        owner = container.labels.get(LABEL, "")
        pid = owner.partition("-")[0]
        if not pid.isdigit() or owner != _owner(int(pid)):
            with contextlib.suppress(docker.errors.APIError):
                container.remove(force=True)


def _base_image(client: docker.DockerClient, progress: Progress) -> str:
    """Debian's image from a registry, or the same made from the machine's own mirror."""
    registry, local = f"debian:{DEBIAN}-slim", f"kstep-base:{DEBIAN}"
    for name in (local, registry):
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.get(name)
            return name
    try:
        client.images.pull("debian", tag=f"{DEBIAN}-slim")
    except (docker.errors.APIError, requests.exceptions.RequestException) as error:
        progress.say(f"no image registry answers ({_engine_reason(error)}): making {local} here")
    else:
        return registry
    apt.install(["mmdebstrap"], progress)
    with tempfile.TemporaryDirectory(prefix="kstep-") as scratch:
        tar = Path(scratch) / "base.tar"
        sources = Path(scratch) / "sources.list"
        sources.write_text(apt.own_sources().as_list(DEBIAN))
        with progress.task(f"base image {local}"):
            _mmdebstrap(tar, sources)
            client.api.import_image_from_file(str(tar), repository="kstep-base", tag=DEBIAN)
    return local


def _mmdebstrap(tar: Path, sources: Path) -> None:
    argv = [
        "mmdebstrap",
        "--variant=minbase",
        "--include=ca-certificates",
        DEBIAN,
        str(tar),
        str(sources),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(argv, done.returncode, done.stderr.splitlines()[-10:])


def _build_image(
    client: docker.DockerClient,
    folder: Path,
    tag: str,
    base: str,
    note: Callable[[str], None],
) -> None:
    proxies = {k: v for k, v in os.environ.items() if k.lower() in ("http_proxy", "https_proxy")}
    tail: deque[str] = deque(maxlen=20)
    for event in client.api.build(
        path=str(folder),
        tag=tag,
        rm=True,
        forcerm=True,
        buildargs={"BASE": base, **proxies},
        network_mode="host",  # a mirror may be reachable from this machine alone
        decode=True,
    ):
        if "error" in event:
            raise MachineryError(
                f"docker/Dockerfile does not build: {event['error'].strip()}", details=tuple(tail)
            )
        line = str(event.get("stream", "")).strip()
        if line:
            tail.append(line)
            note(line)


# -- on this machine


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

    def kill(self) -> None:
        """Kill the child and wait for it."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._log.unlink(missing_ok=True)


class HostToolchain(Toolchain):
    """The same packages, installed on this machine."""

    kind = "host"

    @classmethod
    def ready(cls, docker_folder: Path, why: str, progress: Progress) -> HostToolchain:
        """Check the packages, and install what is missing where that is allowed."""
        wanted = (docker_folder / "packages.txt").read_text().split()
        apt.install(wanted, progress)
        return cls(why)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),  # noqa: ARG002 -- no walls here
        writable: Sequence[Path] = (),  # noqa: ARG002
        env: Mapping[str, str] | None = None,
        network: bool = False,  # noqa: ARG002
        on_line: Callable[[str], None] = ignore,
    ) -> None:
        """Run a command as a child; it and its children end with this process."""
        with subprocess.Popen(
            [*DIE_WITH_PARENT, *argv],
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as child:
            tail: deque[str] = deque(maxlen=200)
            assert child.stdout is not None  # noqa: S101 -- it is a PIPE
            try:
                for raw in child.stdout:
                    line = raw.decode(errors="replace").rstrip("\n")
                    tail.append(line)
                    on_line(line)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                raise
        if child.returncode:
            raise CommandError(argv, child.returncode, tail)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        readable: Sequence[Path] = (),  # noqa: ARG002 -- no walls here
        writable: Sequence[Path] = (),  # noqa: ARG002
        line: Path | None = None,  # noqa: ARG002
    ) -> Process:
        """Start a child in a session of its own."""
        handle, name = tempfile.mkstemp(prefix="kstep-", suffix=".log")
        try:
            child = subprocess.Popen(
                [*DIE_WITH_PARENT, *argv],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                start_new_session=True,
            )
        finally:
            os.close(handle)
        return HostProcess(child, Path(name))
