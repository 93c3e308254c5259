# SPDX-License-Identifier: GPL-2.0-only
"""The guest's archive, read back by another reader."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.base.cache import Cache
from kstep.base.errors import MachineryError
from kstep.build import initramfs
from kstep.build.archive import FOLDER, LINK, PROGRAM, newc
from kstep.build.initramfs import PROGRAMS
from kstep.source import debian
from kstep.source.debian import Package

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.base.progress import Progress
    from kstep.toolchain import Toolchain

Entry = tuple[str, int, bytes]
HEADER = 110  # "070701" and 13 numbers of 8 hexadecimal digits


def unpacked(archive: bytes) -> list[tuple[Entry, tuple[int, ...]]]:
    """Read as init/initramfs.c does: (name, mode, content), and the other numbers."""
    raw, at = gzip.decompress(archive), 0
    found: list[tuple[Entry, tuple[int, ...]]] = []
    assert len(raw) % 4 == 0
    while True:
        assert raw[at : at + 6] == b"070701"
        fields = [int(raw[n : n + 8], 16) for n in range(at + 6, at + HEADER, 8)]
        inode, mode, *owner_and_links, _time, size = fields[:7]
        length = fields[11]
        name = raw[at + HEADER : at + HEADER + length]
        assert name.endswith(b"\0")
        start = at + HEADER + length + -(HEADER + length) % 4
        content = raw[start : start + size]
        at = start + size + -size % 4
        if name == b"TRAILER!!!\0":
            assert at == len(raw)
            return found
        entry = (name[:-1].decode(), mode, content)
        found.append((entry, (inode, *owner_and_links, *fields[7:11], fields[12])))


packings = st.lists(
    st.tuples(
        st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=20),
        st.sampled_from([FOLDER, PROGRAM, LINK]),
        st.binary(max_size=50),
    )
)


@given(packings)
def test_what_was_packed_is_read_back(packed: list[Entry]) -> None:
    found = unpacked(newc(packed))
    assert [entry for entry, _ in found] == packed
    inodes = [rest[0] for _, rest in found]
    assert len(set(inodes)) == len(inodes)  # two with one inode would be hard links
    assert all(rest[1:] == (0, 0, 1, 0, 0, 0, 0, 0) for _, rest in found)


@given(packings)
def test_the_same_files_give_the_same_archive(packed: list[Entry]) -> None:
    assert newc(packed) == newc(iter(packed))


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is another reader")
def test_cpio_reads_it_too(tmp_path: Path) -> None:
    packed = [
        ("bin", FOLDER, b""),
        ("bin/busybox", PROGRAM, b"\x7fELF" + bytes(range(256)) * 33),
        ("bin/sh", LINK, b"busybox"),
        ("init", PROGRAM, b"x"),
    ]
    argv = ["cpio", "--extract", "--quiet", "--preserve-modification-time"]
    raw = gzip.decompress(newc(packed))
    done = subprocess.run(argv, cwd=tmp_path, input=raw, check=True, capture_output=True)
    assert done.stderr == b""
    assert (tmp_path / "bin/busybox").read_bytes() == packed[1][2]
    assert (tmp_path / "bin/sh").readlink().name == "busybox"
    for name, mode, _ in packed:
        assert (tmp_path / name).lstat().st_mode == mode
    assert (tmp_path / "init").stat().st_mtime == 0


def test_the_guest_has_a_shell_and_its_programs(tmp_path: Path) -> None:
    for name in (*PROGRAMS, "init", "busybox"):
        (tmp_path / name).write_text(name)
    found = {
        n: (mode, text) for n, mode, text in initramfs._entries(tmp_path / "busybox", tmp_path)
    }
    assert found["bin/sh"] == (LINK, b"busybox")
    assert {f"bin/{name}" for name in PROGRAMS} < found.keys()
    for name in ("bin/busybox", "init", *(f"bin/{name}" for name in PROGRAMS)):
        assert found[name] == (PROGRAM, name.removeprefix("bin/").encode())
    folders = {name for name, (mode, _) in found.items() if mode == FOLDER}
    order = list(found)
    for name in order:
        parent = name.rpartition("/")[0]
        assert not parent or (parent in folders and order.index(parent) < order.index(name))


# -- what is in the cache and is not what was made


class Guests:
    """A cache with a guest in it, made by nothing but this."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.made = 0
        self.said: list[str] = []
        self.program = "bin/busybox"
        self.suites: list[str] = []
        package = Package("busybox-static", "1.35", "0123", folder / "deb", "Debian bookworm")

        def fetch(_name: str, suite: str, *_: object) -> Package:
            self.suites.append(suite)
            return package

        monkeypatch.setattr(debian, "fetch", fetch)
        monkeypatch.setattr(debian, "unpack", self._unpack)

    def _unpack(self, _package: Package, into: Path, _toolchain: object) -> None:
        self.made += 1
        (into / self.program).parent.mkdir(parents=True)
        (into / self.program).write_text("busybox")

    def _run(self, argv: list[str], **_given: object) -> None:
        out = next(word.removeprefix("OUT=") for word in argv if word.startswith("OUT="))
        for name in (*PROGRAMS, "init"):
            (Path(out) / name).write_text(name)

    def get(self) -> initramfs.Initramfs:
        """Ask for the guest."""
        tools = SimpleNamespace(own=lambda path: path, run=self._run, debian="trixie")
        progress = SimpleNamespace(say=self.said.append, task=lambda _: contextlib.nullcontext())
        return initramfs.make(
            self.programs,
            cast("Toolchain", tools),
            "gcc 12",
            Cache(self.folder / "cache"),
            cast("Progress", progress),
        )


def test_busybox_is_of_the_toolchain_s_release_wherever_its_package_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bin before trixie, in usr/bin since."""
    archives = []
    for name in ("bin/busybox", "usr/bin/busybox"):
        folder = tmp_path / name.replace("/", "-")
        folder.mkdir()
        guests = Guests(folder, monkeypatch)
        guests.program = name
        archives.append(guests.get().path.read_bytes())
        assert guests.suites == ["trixie"]
    assert archives[0] == archives[1]
    assert ("bin/busybox", PROGRAM, b"busybox") in [entry for entry, _ in unpacked(archives[0])]


def test_a_package_without_the_program_is_no_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = Guests(tmp_path, monkeypatch)
    guests.program = "sbin/busybox"
    with pytest.raises(MachineryError, match="busybox-static has no program bin/busybox"):
        guests.get()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _replace_by_link(path: Path) -> None:
    aside = path.with_name("aside")
    path.rename(aside)
    path.symlink_to(aside)


@pytest.mark.parametrize(
    "damage",
    [_flip, _truncate, _replace_by_link, Path.unlink, lambda path: path.write_text('{"a": 1}')],
)
@pytest.mark.parametrize("file", ["initramfs.cpio.gz", "initramfs.json"])
def test_a_guest_that_is_damaged_is_made_again(
    file: str,
    damage: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And said so, in one line."""
    guests = Guests(tmp_path, monkeypatch)
    first = guests.get()
    content = first.path.read_bytes()
    assert guests.get() == first
    assert (guests.made, guests.said) == (1, [])
    damage(first.path.parent / file)
    assert guests.get() == first
    assert first.path.read_bytes() == content
    assert not first.path.is_symlink()
    (line,) = guests.said
    assert f" again: {file}" in line or damage is _flip
    assert guests.get() == first
    assert guests.made == 2
