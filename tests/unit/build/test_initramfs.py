# SPDX-License-Identifier: GPL-2.0-only
"""The guest's archive, read back by another reader."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.build import initramfs
from kstep.build.initramfs import FOLDER, LINK, PROGRAM, PROGRAMS

if TYPE_CHECKING:
    from pathlib import Path

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
    found = unpacked(initramfs._newc(packed))
    assert [entry for entry, _ in found] == packed
    inodes = [rest[0] for _, rest in found]
    assert len(set(inodes)) == len(inodes)  # two with one inode would be hard links
    assert all(rest[1:] == (0, 0, 1, 0, 0, 0, 0, 0) for _, rest in found)


@given(packings)
def test_the_same_files_give_the_same_archive(packed: list[Entry]) -> None:
    assert initramfs._newc(packed) == initramfs._newc(iter(packed))


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is another reader")
def test_cpio_reads_it_too(tmp_path: Path) -> None:
    packed = [
        ("bin", FOLDER, b""),
        ("bin/busybox", PROGRAM, b"\x7fELF" + bytes(range(256)) * 33),
        ("bin/sh", LINK, b"busybox"),
        ("init", PROGRAM, b"x"),
    ]
    argv = ["cpio", "--extract", "--quiet", "--preserve-modification-time"]
    raw = gzip.decompress(initramfs._newc(packed))
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
