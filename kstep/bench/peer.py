# SPDX-License-Identifier: GPL-2.0-only
"""Programs that others use for the same work, in the same run: tuxmake, virtme-ng, pexpect.

Each is installed into an environment of its own, and is no requirement of kstep.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.bench import boot
from kstep.bench.figure import Figure, least, most
from kstep.bench.stepping import STEPS, booted, stopped
from kstep.build import kconfig
from kstep.toolchain import CROSS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kstep.base.progress import Progress
    from kstep.build.kernel import Kernel
    from kstep.run.preparation import Prepared

PATIENCE = 120.0  # seconds for an installation, or for a boot
# virtme-ng's guest runs on a file system of the host's, by one of these.
SHARED = ("CONFIG_VIRTIO_FS", "CONFIG_NET_9P_VIRTIO")
STEPPER = f"""\
import sys, time, pexpect.fdpexpect
child = pexpect.fdpexpect.fdspawn(int(sys.argv[1]))
began = time.perf_counter()
for _ in range({STEPS}):
    child.send("ss\\r")
    child.expect("kdb> ")
print(time.perf_counter() - began)
"""


class Missing(Exception):  # noqa: N818 -- it is no error
    """A peer cannot do this work here; the text says why."""


@dataclass(frozen=True)
class Peer:
    """An installed one."""

    folder: Path

    @classmethod
    def install(cls, name: str, folder: Path) -> Peer:
        """Get it from the package index that pip is configured for; raises Missing."""
        venv.create(folder / name, with_pip=True)
        peer = cls(folder / name)
        peer.run("pip", "install", "--quiet", "--disable-pip-version-check", name)
        return peer

    def run(
        self,
        program: str,
        *arguments: str,
        seconds: float = PATIENCE,
        keep: Sequence[int] = (),
    ) -> str:
        """Run one of its programs; return what it printed. Raises Missing if it fails."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        try:
            done = subprocess.run(
                [str(self.folder / "bin" / program), *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                env={**os.environ, "PATH": path},
                pass_fds=keep,
            )
        except subprocess.TimeoutExpired:
            raise Missing(f"{program} did not end within {seconds:.0f} s") from None
        except OSError as error:
            raise Missing(f"{program}: {error.strerror}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Missing(f"{program} failed: {said[-1] if said else done.returncode}")
        return done.stdout


def compare(
    prepared: Prepared, kernel: Kernel, judged: float, cold: float | None, progress: Progress
) -> tuple[dict[str, Figure], dict[str, str]]:
    """Return figures against each peer, and why others could not be measured.

    ``judged`` are kstep's steps a second, and ``cold`` its seconds for all kernels from nothing;
    without these nothing is built.
    """
    figures: dict[str, Figure] = {}
    missing: dict[str, str] = {}
    with temporary.folder() as folder:
        works: dict[str, Callable[[Peer], dict[str, Figure]]] = {
            "pexpect": lambda peer: {
                "judged_over_pexpect": least(judged / _stepped(peer, prepared, kernel), 1)
            },
            "virtme-ng": lambda peer: {
                "boot_over_virtme_ng": most(boot.ours(prepared, kernel) / _boot(peer, kernel), 1)
            },
        }
        if cold is None:
            missing["tuxmake"] = "it builds every variant: only with --whole"
        else:
            works["tuxmake"] = lambda peer: {
                "kernels_over_tuxmake": most(cold / _built(peer, prepared, Path(folder)), 1)
            }
        for name, work in works.items():
            with progress.task(f"peer {name}"):
                try:
                    figures |= work(Peer.install(name, Path(folder)))
                except Missing as reason:
                    missing[name] = str(reason)
    return figures, missing


def _stepped(peer: Peer, prepared: Prepared, kernel: Kernel) -> float:
    """Return how many steps a second pexpect makes with its defaults, on a line like kstep's."""
    with booted(prepared, kernel) as (machine, target), stopped(target):
        line = machine.serial
        said = peer.run("python", "-c", STEPPER, str(line), keep=[line])
    return STEPS / float(said)


def _boot(peer: Peer, kernel: Kernel) -> float:
    """Return the seconds in which virtme-ng boots a kernel and runs a command."""
    options = kconfig.parse(kernel.config)
    if not any(options.get(name) == "y" for name in SHARED):
        raise Missing(f"its root is a folder of the host's, and the kernel has no {SHARED[0]}")
    began = time.perf_counter()
    peer.run("vng", "--run", str(kernel.image), "--arch", "arm64", "--user", "root", "--", "true")
    return time.perf_counter() - began


def _built(peer: Peer, prepared: Prepared, folder: Path) -> float:
    """Return the seconds of tuxmake's builds of all kernels, one by one in one build folder."""
    if shutil.which(f"{CROSS}gcc") is None:
        raise Missing(f"{CROSS}gcc is not installed on this host")
    source, objects = folder / "source", folder / "objects"
    tree = prepared.built[0].tree.source
    subprocess.run(["cp", "-a", "--reflink=auto", str(tree), str(source)], check=True)
    seconds = 0.0
    changed: dict[str, bytes | None] = {}
    for each in prepared.built:
        files = each.variants[0][1].files
        before = {name: _content(tree / name) for name in changed}
        for name, content in _differing(source, {**before, **files}):
            _write(source / name, content)
        changed = dict(files)
        began = time.perf_counter()
        peer.run(
            *("tuxmake", "--directory", str(source), "--target-arch", "arm64"),
            *("--kconfig", str(each.require().config), "--build-dir", str(objects)),
            *("--output-dir", str(folder / each.first.replace("/", "-")), "kernel"),
            seconds=4 * 3600,
        )
        seconds += time.perf_counter() - began
    return seconds


def _differing(
    source: Path, files: Mapping[str, bytes | None]
) -> Iterator[tuple[str, bytes | None]]:
    for name, content in files.items():
        if _content(source / name) != content:
            yield name, content


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _write(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
