# SPDX-License-Identifier: GPL-2.0-only
"""A cached file that is damaged is never used: it is made again, with a line about it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base import temporary
from kstep.build import initramfs
from kstep.build.kernel import FACTS, OUTPUTS
from kstep.source import debian
from tests.faults.seed import seeds
from tests.unit.build.test_builder import WITH_A, Work, state
from tests.unit.source.test_debian import Archive

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

HARMS = ("bit", "bit", "bit", "cut", "longer", "empty", "gone", "link", "folder")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that make can build in; that of all tests may have blanks in its name."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def harm(path: Path, how: str, chance: random.Random) -> None:
    """Damage a file; its times stay, as they do when the disk is at fault."""
    data = path.read_bytes()
    times = path.stat()
    if how in {"link", "folder", "gone"}:
        path.unlink()
        if how == "link":
            aside = path.with_name(f"{path.name}.aside")
            aside.write_bytes(data)
            path.symlink_to(aside)
        elif how == "folder":
            path.mkdir()
        return
    if how == "bit":
        at = chance.randrange(len(data))
        data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    elif how == "cut":
        data = data[: chance.randrange(len(data))]
    elif how == "longer":
        data += chance.randbytes(chance.randrange(1, 100))
    else:
        data = b""
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@seeds(16, sample=1)
@pytest.mark.parametrize("name", [*OUTPUTS, FACTS])
def test_a_damaged_kernel(
    folder: Path,
    injected: Callable[[str, str], None],
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    seed: int,
) -> None:
    work = Work(folder)
    good = work.build()
    kept = state(good)
    how = HARMS[seed % len(HARMS)]
    harm(good.folder / name, how, chance)
    monkeypatch.setattr("kstep.base.digest._once", _read_anew)  # as another process would
    again = work.build()
    assert state(again) == kept
    assert again.image_sha256 == hashlib.sha256(kept["Image"]).hexdigest()
    assert again.vmlinux_sha256 == good.vmlinux_sha256
    if again.cached:  # nothing that is used was damaged
        assert name == FACTS
        assert how == "bit"
    injected(f"cache: {name}", f"{how}: {'harmless' if again.cached else 'made again'}")
    assert work.build().cached


def _read_anew(path: Path, _inode: int, _size: int, _time: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@seeds(16, sample=1)
@pytest.mark.parametrize("name", [initramfs.ARCHIVE, initramfs.FACTS])
def test_a_damaged_guest(
    folder: Path,
    injected: Callable[[str, str], None],
    chance: random.Random,
    name: str,
    seed: int,
) -> None:
    """The cache's entry as make() has it, with what it asks of it."""
    work = Work(folder)
    content = b"an archive" * 50

    def build(into: Path) -> None:
        (into / initramfs.ARCHIVE).write_bytes(content)
        facts = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "busybox_version": "1.35.0",
            "busybox_sha256": "b" * 64,
        }
        (into / initramfs.FACTS).write_text(json.dumps(facts))

    said: list[str] = []
    asked = ("guests", "key", build, initramfs._damage, said.append)
    made = work.cache.entry(*asked)
    how = HARMS[seed % len(HARMS)]
    harm(made / name, how, chance)
    again = work.cache.entry(*asked)
    assert (again / initramfs.ARCHIVE).read_bytes() == content
    assert json.loads((again / initramfs.FACTS).read_text())["sha256"]
    injected(f"cache: {name}", f"{how}: {'made again' if said else 'harmless'}")
    assert said or (name == initramfs.FACTS and how == "bit")


@seeds(18, sample=1)
@pytest.mark.parametrize("name", ["package", "note"])
def test_a_damaged_download(
    tmp_path: Path,
    injected: Callable[[str, str], None],
    chance: random.Random,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    seed: int,
) -> None:
    work = Work(tmp_path)
    archive = Archive()
    said: list[str] = []
    good = debian.fetch("busybox-static", "bookworm", archive, work.cache)
    content = good.path.read_bytes()
    how = HARMS[seed % len(HARMS)]
    harm(good.path if name == "package" else good.path.with_name("current"), how, chance)
    monkeypatch.setattr("kstep.base.digest._once", _read_anew)
    again = debian.fetch("busybox-static", "bookworm", archive, work.cache, said.append)
    assert again.path.read_bytes() == content
    assert again.sha256 == good.sha256 == hashlib.sha256(content).hexdigest()
    injected(f"cache: download's {name}", f"{how}: {'fetched again' if said else 'harmless'}")


def _build(folder: Path, slow: bool) -> None:  # noqa: FBT001 -- an argument of a process
    os.setsid()
    work = Work(folder)
    if slow:
        work.tools.last = 1000  # things are made slowly
    work.build()
    work.build(WITH_A)


@seeds(16, sample=1)
def test_two_on_one_cache(
    folder: Path, injected: Callable[[str, str], None], chance: random.Random, seed: int
) -> None:
    """Both build the same kernels at a time; one of them is killed, three times of four."""
    alone = Work(folder / "alone")
    wanted = [state(alone.build()), state(alone.build(WITH_A))]
    shared = folder / "shared"
    shutil.copytree(alone.tree.source, shared / "tree")
    context = multiprocessing.get_context("fork")
    builds = [context.Process(target=_build, args=(shared, True)) for _ in range(2)]
    for build in builds:
        build.start()
    killed = seed % 4 > 0
    time.sleep(chance.uniform(0, 2.5))
    if killed and builds[0].pid is not None:
        builds[0].kill()
    for build in builds:
        build.join(60)
    assert builds[1].exitcode == 0
    assert builds[0].exitcode in ({0, -signal.SIGKILL} if killed else {0})
    both = Work(shared)
    found = [both.build(), both.build(WITH_A)]
    assert [state(each) for each in found] == wanted
    assert all(each.cached for each in found)
    temporary.sweep(both.cache.scratch_folders)
    assert all(not temporary.NAME.fullmatch(name) for name in both.kept())
    injected("two on one cache", "one killed" if builds[0].exitcode else "both end")
