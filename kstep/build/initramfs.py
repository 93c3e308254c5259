# SPDX-License-Identifier: GPL-2.0-only
"""The guest's file system: Debian's busybox and the programs of tests/guest/."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import digest
from kstep.base.errors import MachineryError
from kstep.build.archive import FOLDER, LINK, PROGRAM, newc
from kstep.source import debian
from kstep.toolchain import CROSS, CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.toolchain import Toolchain

ARCHIVE, FACTS = "initramfs.cpio.gz", "initramfs.json"
RECIPE = "2"  # part of the key: increase it when the packing changes
PROGRAMS = (
    "syscall",
    "sleeper",
    "ticks",
    "cpus",
    "sampler",
    "hits",
    "herd",
    "often",
    "tally",
    "userhits",
    "stepper",
    "untouched",
    "zeros",
    "signals",
    "hops",
    "fresh",
    "twice",
    "jitter",
    "hwtrace",
    "traced",
    "moved",
    "signalhits",
    "preempted",
    "offline",
    "grace",
    "uprobed",
    "handled",
)


@dataclass(frozen=True)
class Initramfs:
    """An initramfs in the cache, and the busybox in it."""

    path: Path
    sha256: str
    busybox_version: str
    busybox_sha256: str


def make(
    programs: Path,
    toolchain: Toolchain,
    compiler: str,
    cache: Cache,
    progress: Progress,
) -> Initramfs:
    """Compile the programs in folder ``programs`` and pack them with busybox, once."""
    busybox = debian.fetch("busybox-static", toolchain.debian, toolchain, cache, progress.say)
    inputs = hashlib.sha256(f"{RECIPE}\n{PROGRAMS}\n{compiler}\n{busybox.sha256}\n".encode())
    for path in sorted(programs.iterdir()):
        inputs.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")

    def build(into: Path) -> None:
        with progress.task("guest programs"):
            for name in ("package", "programs"):
                (into / name).mkdir()
                toolchain.own(into / name)
            debian.unpack(busybox, into / "package", toolchain)
            # A copy, because only its owner may be able to read the checkout.
            source = Path(shutil.copytree(programs, into / "source", copy_function=shutil.copyfile))
            argv = ["make", "-C", str(source), f"OUT={into}/programs", f"CROSS_COMPILE={CROSS}"]
            try:
                toolchain.run(argv, cwd=into, writable=[into])
            except CommandError as error:
                raise MachineryError(
                    "the guest's programs do not compile", details=error.details[-8:]
                ) from error
        archive = newc(_entries(_busybox(into / "package"), into / "programs"))
        (into / ARCHIVE).write_bytes(archive)
        facts = {
            "sha256": hashlib.sha256(archive).hexdigest(),
            "busybox_version": busybox.version,
            "busybox_sha256": busybox.sha256,
        }
        (into / FACTS).write_text(json.dumps(facts))

    folder = cache.entry("guests", inputs.hexdigest()[:24], build, _damage, progress.say)
    return Initramfs(folder / ARCHIVE, **json.loads((folder / FACTS).read_text()))


def _damage(folder: Path) -> str | None:
    """Return why a cached guest must not be used; None if it is undamaged."""
    is_record = digest.is_strings(Initramfs)
    return digest.damage(folder, FACTS, {"sha256": ARCHIVE}, is_record, "guest")


def _busybox(package: Path) -> Path:
    """Return the program of an unpacked package: trixie's has it in usr/bin."""
    for name in ("bin/busybox", "usr/bin/busybox"):
        if (package / name).is_file():
            return package / name
    raise MachineryError("Debian's package busybox-static has no program bin/busybox")


def _entries(busybox: Path, programs: Path) -> Iterable[tuple[str, int, bytes]]:
    yield "bin", FOLDER, b""
    yield "bin/busybox", PROGRAM, busybox.read_bytes()
    yield "bin/sh", LINK, b"busybox"  # the shell finds its own applets without links
    for name in PROGRAMS:
        yield f"bin/{name}", PROGRAM, (programs / name).read_bytes()
    yield "init", PROGRAM, (programs / "init").read_bytes()
