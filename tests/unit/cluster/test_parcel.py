# SPDX-License-Identifier: GPL-2.0-only
"""Files that are sent to another machine: they arrive as they were, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.cache import Cache
from kstep.base.errors import MachineryError
from kstep.cluster import parcel
from kstep.cluster.parcel import Arrival, Parcel

if TYPE_CHECKING:
    from pathlib import Path

KERNEL = Parcel("0123", "0123", "kernels")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Make a folder with files, one of them in another folder."""
    folder = tmp_path / "here" / KERNEL.name
    (folder / "sub").mkdir(parents=True)
    (folder / "Image").write_bytes(bytes(range(256)) * 40)
    (folder / "sub/x.py").write_text("x = 1\n")
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Cache:
    """Give the cache of the machine that it is sent to."""
    return Cache(tmp_path / "there")


def sent(content: Path, there: Cache, what: Parcel = KERNEL) -> Path:
    """Send it in pieces."""
    packed, sha256 = parcel.pack(Cache(content.parent.parent / "cache"), what, content)
    arrival = Arrival(there, what)
    try:
        data = packed.read_bytes()
        for offset in range(0, len(data), 100):
            arrival.take(data[offset : offset + 100])
        return arrival.unpack(sha256)
    finally:
        arrival.drop()


def test_a_folder_arrives_as_it_was(here: Path, there: Cache) -> None:
    assert parcel.found(there, KERNEL) is None
    path = sent(here, there)
    assert path == parcel.found(there, KERNEL)
    assert (path / "Image").read_bytes() == (here / "Image").read_bytes()
    assert (path / "sub/x.py").read_text() == "x = 1\n"
    assert list(there.folder("parcels").iterdir()) == []


def test_a_file_too(here: Path, there: Cache) -> None:
    what = Parcel("4567", "Image", "guests")
    path = sent(here / "Image", there, what)
    assert path.name == "Image"
    assert path.read_bytes() == (here / "Image").read_bytes()


def test_it_is_packed_once(here: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = parcel.pack(cache, KERNEL, here)
    inode = first[0].stat().st_ino
    assert parcel.pack(cache, KERNEL, here) == first
    assert first[0].stat().st_ino == inode


def test_what_is_damaged_on_its_way_is_refused(here: Path, there: Cache, tmp_path: Path) -> None:
    packed, sha256 = parcel.pack(Cache(tmp_path / "cache"), KERNEL, here)
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 1
    arrival = Arrival(there, KERNEL)
    arrival.take(bytes(data))
    with pytest.raises(MachineryError, match="0123: damaged on its way here"):
        arrival.unpack(sha256)
    arrival.drop()
    assert parcel.found(there, KERNEL) is None


def test_what_is_damaged_there_is_not_used(here: Path, there: Cache) -> None:
    path = sent(here, there)
    (path / "Image").write_bytes(b"other")
    assert parcel.found(there, KERNEL) is None
    assert (sent(here, there) / "Image").read_bytes() == (here / "Image").read_bytes()


def test_a_kernel_that_was_built_there_is_not_sent(there: Cache) -> None:
    built = there.folder("kernels", KERNEL.key)
    assert parcel.found(there, KERNEL) == built


def test_what_cannot_be_packed_says_why(tmp_path: Path) -> None:
    with pytest.raises(MachineryError, match=r"^tar: "):
        parcel.pack(Cache(tmp_path / "cache"), KERNEL, tmp_path / "gone")
