# SPDX-License-Identifier: GPL-2.0-only
"""A machine that kstep did not start: a QEMU, with its serial line on TCP, and what resets it."""

from __future__ import annotations

import shlex
import shutil
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import docker.errors

import docker
from kstep.machine.line import QEMU_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QEMU = "qemu-system-aarch64"
IMAGE = "kstep-toolchain"
NO_QEMU = "no QEMU outside of the container, and no container of kstep's"


@dataclass(frozen=True)
class External:
    """Where the machine's line is, and the command that resets it."""

    port: int
    reset: str


def _image() -> str | None:
    """Return the toolchain's image, newest first; None where there is no engine or image."""
    try:
        found = docker.from_env().images.list(name=IMAGE)
    except docker.errors.DockerException:
        return None
    return next((tag for image in found for tag in image.tags), None)


def has_qemu() -> bool:
    """Whether a QEMU can be started here."""
    return shutil.which(QEMU) is not None or _image() is not None


@contextmanager
def external(boot: Path, scratch: Path) -> Iterator[External]:
    """Give a machine that boots what ``./inv guest`` wrote to a folder, once it is reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    qemu = [
        *(QEMU, "-machine", "virt,gic-version=3", "-cpu", "cortex-a76", "-m", "512"),
        *("-display", "none", "-nodefaults", "-no-reboot"),
        *("-serial", QEMU_LINE.replace("HOST:PORT", f"127.0.0.1:{port}")),
        *("-kernel", str(boot / "Image"), "-initrd", str(boot / "initramfs.cpio.gz")),
        *("-append", (boot / "cmdline").read_text().strip()),
    ]
    script, pid, name = scratch / "reset", scratch / "pid", f"kstep-external-{port}"
    if shutil.which(QEMU):
        start = [*qemu, "-daemonize", "-pidfile", str(pid)]
        end = f"test ! -f {pid} || kill $(cat {pid})\nwhile test -f {pid}; do sleep 0.1; done\n"
    else:
        container = ["docker", "run", "--detach", "--rm", "--network=host", f"--name={name}"]
        start = [*container, f"--volume={boot}:{boot}:ro", str(_image()), *qemu]
        end = f"docker rm --force {name} >/dev/null 2>&1\n"
    script.write_text(f"{end}{shlex.join(start)}\n")
    try:
        yield External(port, f"sh {script}")
    finally:
        subprocess.run(["sh", "-c", end], check=False)
