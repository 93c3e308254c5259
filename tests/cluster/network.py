# SPDX-License-Identifier: GPL-2.0-only
"""A cluster on this machine: scheduler, workers and clients in network namespaces of their own.

Between them are only the packets that the hub passes on. Files are on one disk, but each worker
has a cache and a folder of temporary files of its own, and knows of no other.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.results import record
from tests.cluster.hub import SUBNET
from tests.faults.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kstep.results.cell import CellRecord

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0  # seconds for what takes some on an idle host
NAMES = ("scheduler", "client", "other", "one", "two", "three")
SCRIPT = """\
import os
import signal
import time

from kstep.session.session import Stepped, session


@session(claim="x", cases=tuple(Stepped(name, "true", "") for name in ("one", "two", "three")))
def does(target, case):
    target.run(case.trigger)


@session(claim="x", cases=tuple(Stepped(name, "true", "") for name in ("first", "second")))
def lasts(target, case):
    for _ in range(20):
        target.run(case.trigger)
        time.sleep(0.1)


@session(claim="x", cases=tuple(Stepped(name, "true", "") for name in ("before", "it", "after")))
def kills(target, case):
    target.run(case.trigger)
    if case.name == "it":
        time.sleep(3)  # until what the cell before came to has left this host
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)


@session(claim="x")
def short(target):
    target.run("true")
"""


def possible() -> str:
    """Say what this host lacks for network namespaces; "" if nothing."""
    if os.getuid():
        return "only root can make network namespaces"
    if not Path("/dev/net/tun").exists():
        return "this kernel has no /dev/net/tun"
    return ""


@dataclass
class Running:
    """A process of the cluster, in a namespace, and what it prints."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait(self) -> int:
        """Wait for its end; returns its status."""
        return self.process.wait(PATIENCE)


@dataclass
class Network:
    """Namespaces, a place with what is run, and the processes of the cluster."""

    folder: Path
    place: Place = field(init=False)
    running: list[Running] = field(default_factory=list)
    certificates: tuple[str, str, str] | None = None
    port: int = 8786

    def __post_init__(self) -> None:
        self._make_place()
        self.spaces = {name: f"kstep-{os.getpid()}-{name}" for name in NAMES}
        for space in self.spaces.values():
            subprocess.run(["ip", "netns", "add", space], check=True)
        hub = [sys.executable, "-m", "tests.cluster.hub", *self.spaces.values()]
        self._hub = subprocess.Popen(
            hub, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._answer()
        for name in NAMES:
            self.set(name, delay=0.01, loss=0.01)

    def _make_place(self) -> None:
        self.place = Place(self.folder / "place")
        (self.place.root / "tests/sessions/does.py").write_text(SCRIPT)

    def _answer(self) -> None:
        assert self._hub.stdout is not None
        assert self._hub.stdout.readline()

    def set(self, name: str, delay: float, loss: float) -> None:
        """Have packets to and from a namespace late, and lost; a loss of 1 cuts it off."""
        assert self._hub.stdin is not None
        self._hub.stdin.write(f"{NAMES.index(name) + 1} {delay} {loss}\n".encode())
        self._answer()

    def close(self) -> None:
        """End all, and remove the namespaces."""
        for each in self.running:
            each.kill()
            each.wait()
        self._hub.communicate()
        for space in self.spaces.values():
            subprocess.run(["ip", "netns", "del", space], check=True)

    def address(self, name: str) -> str:
        """The address of a namespace."""
        return f"{SUBNET}.{NAMES.index(name) + 1}"

    def _inside(self, name: str) -> list[str]:
        """What comes before a program's own command."""
        return ["ip", "netns", "exec", self.spaces[name]]

    def start(self, name: str, argv: list[str], env: Mapping[str, str] | None = None) -> Running:
        """Start a program in a namespace, in a session of its own."""
        log = self.folder / f"{name}-{len(self.running)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*self._inside(name), *argv],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.running.append(Running(process, log))
        return self.running[-1]

    @property
    def url(self) -> str:
        """The address of the scheduler."""
        return f"{'tls' if self.certificates else 'tcp'}://{self.address('scheduler')}:{self.port}"

    def secure(self) -> None:
        """Have all use TLS, with a certificate of an authority of their own."""
        ca, cert, key = (str(self.folder / name) for name in ("ca.pem", "cert.pem", "key.pem"))
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        made += ["-subj", "/CN=kstep", "-keyout", key, "-out", cert]
        subprocess.run(made, check=True, capture_output=True)
        Path(ca).write_bytes(Path(cert).read_bytes())
        self.certificates = (ca, cert, key)

    def scheduler(self) -> Running:
        """Start the scheduler."""
        files = self.certificates or ("", "", "")
        code = (
            "from kstep.cluster import service\n"
            "from kstep.cluster.access import Access\n"
            f"service.scheduler(Access.parse('x', {self.url!r}, {files!r}, insecure=True))"
        )
        return self.start("scheduler", [sys.executable, "-c", code])

    def worker(self, name: str, jobs: int = 1, **env: str) -> Running:
        """Start a worker that starts again when it ends, as a service manager does."""
        own = self.folder / name
        for part in ("cache", "tmp"):
            (own / part).mkdir(parents=True, exist_ok=True)
        options = ("--tls-ca-file", "--tls-cert", "--tls-key")
        files = zip(options, self.certificates or (), strict=False)
        secure = "".join(f" {option} {file}" for option, file in files)
        script = (
            f"while :; do {sys.executable} -m dask worker {self.url}{secure}"
            f" --no-nanny --nthreads {jobs} --memory-limit 0 --no-dashboard"
            " --death-timeout 60 --preload tests.cluster.worker; sleep 1; done"
        )
        given = {
            "PATH": self.place.path,
            "KSTEP_CACHE": str(own / "cache"),
            "TMPDIR": str(own / "tmp"),
            "KSTEP_CLUSTER_INSECURE": "" if self.certificates else "1",
            "KSTEP_LEAST_FREE": "1",
            "KSTEP_TOOLCHAIN": "host",
            "DASK_LOGGING__DISTRIBUTED": "warning",
        }
        return self.start(name, ["sh", "-c", script], {**given, **env})

    def verify(
        self, sessions: str, repeat: int = 1, name: str = "run", at: str = "client", *more: str
    ) -> Running:
        """Start ``./inv verify --scheduler``."""
        argv = [sys.executable, "-m", "tests.cluster.verify", str(self.place.folder), name]
        argv += [self.url, str(repeat), *more]
        (self.folder / at / "tmp").mkdir(parents=True, exist_ok=True)
        env = {
            "KSTEP_CACHE": str(self.folder / at / "cache"),
            "TMPDIR": str(self.folder / at / "tmp"),
            "KSTEP_TEST_SESSIONS": sessions,
            "KSTEP_TEST_TLS": " ".join(self.certificates or ()),
        }
        return self.start(at, argv, env)

    def build(self, where: str = "") -> Running:
        """Start a build on the cluster, or here."""
        address = where or self.url
        folder = self.folder / f"build{where}"
        (folder / "tmp").mkdir(parents=True)
        argv = [sys.executable, "-m", "tests.cluster.build", str(folder), address]
        return self.start("client", argv, {"TMPDIR": str(folder / "tmp")})

    # -- what is looked at

    def cells(self, name: str = "run") -> list[CellRecord]:
        """The cells of a run; each is in its journal once."""
        folder = self.place.folder / name
        if not (folder / record.FILE).exists():
            return []
        lines = (folder / "cells.jsonl").read_text().splitlines() if self.journaled(name) else []
        keys = [
            tuple(json.loads(line)[key] for key in ("variant", "session", "case", "repeat"))
            for line in lines
        ]
        assert len(keys) == len(set(keys)), "counted twice"
        return record.load(folder).cells

    def journaled(self, name: str = "run") -> int:
        """How many cells the run's journal has."""
        try:
            return len((self.place.folder / name / "cells.jsonl").read_text().splitlines())
        except FileNotFoundError:
            return 0

    def machines(self, name: str) -> list[int]:
        """The machines that run on a worker, by their PIDs."""
        mark = f"TMPDIR={self.folder / name / 'tmp'}".encode()
        found = []
        for pid in self.place.machines:
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    found.append(pid)
        return found

    def dask(self, name: str) -> list[int]:
        """The processes of dask's worker in a namespace."""
        found = subprocess.run(
            ["ip", "netns", "pids", self.spaces[name]], capture_output=True, text=True, check=True
        )
        pids = []
        for pid in map(int, found.stdout.split()):
            with contextlib.suppress(OSError):
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"dask" in argv and argv[0].endswith(b"python"):
                    pids.append(pid)
        return pids


class Loopback(Network):
    """The same without namespaces, on the loopback interface: it needs no root."""

    def __post_init__(self) -> None:
        self._make_place()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def _inside(self, _name: str) -> list[str]:
        return []

    def address(self, _name: str) -> str:
        """Return that of every part."""
        return "127.0.0.1"

    def close(self) -> None:
        """End all."""
        for each in self.running:
            each.kill()
            each.wait()


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)
