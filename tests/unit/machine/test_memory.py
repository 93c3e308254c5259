# SPDX-License-Identifier: GPL-2.0-only
"""A guest's memory that is shared with QEMU, here written by hand: page tables and pages."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base import temporary
from kstep.machine import memory
from kstep.machine.interface import UnmappedError
from kstep.machine.memory import BEGIN, MIB, ORDINARY, PAGE
from kstep.machine.qmp import Monitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.build.kernel import Kernel
    from kstep.machine.memory import Memory

TABLE_AT = 0xFFFF_8000_0900_0000  # of swapper_pg_dir
TOP = BEGIN  # physical
STACK = 0xFFFF_8000_0000_0000  # two pages that lie apart
LINEAR = 0xFFFF_0000_0000_0000  # a block of 2 MiB
DEVICE = 0xFFFF_8000_0010_0000
SECOND = 1 << 39, 1 << 30, 1 << 21


class Guest(Monitor):
    """Entries of page tables, in a file, and the monitor of their guest."""

    file: Path

    def __init__(self) -> None:
        super().__init__(Path("none"), Path())
        self.physical_of_table: int | None = TOP
        self.elsewhere = False
        self.asked = 0

    def put(self, physical: int, data: bytes) -> None:
        """Write at a physical address."""
        with self.file.open("r+b") as stream:
            stream.seek(physical - BEGIN)
            stream.write(data)

    def enter(self, table: int, index: int, physical: int, kind: int) -> None:
        """Write an entry of a table."""
        # The upper attributes of a page: UXN, PXN and a bit for software.
        attributes = 0x00E8_0000_0000_0700
        self.put(table + 8 * index, struct.pack("<Q", attributes | physical | kind))

    def physical(self, address: int) -> int | None:
        """Answer as the monitor does."""
        self.asked += 1
        assert address == TABLE_AT
        return self.physical_of_table

    def read(self, address: int, size: int) -> bytes:
        """Answer as the monitor does."""
        assert (address, size) == (TABLE_AT, PAGE)
        if self.elsewhere:
            return bytes(range(256)) * (PAGE // 256)
        with self.file.open("rb") as stream:
            stream.seek(TOP - BEGIN)
            return stream.read(size)


def same(path: Path) -> Path:
    """Give the file to nobody else."""
    return path


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """A kernel of which only the addresses and the configuration are known."""
    (tmp_path / "System.map").write_text(
        f"ffff800008000000 T _text\n{TABLE_AT:016x} D swapper_pg_dir\n{TABLE_AT:016x} D a_pg_dir\n"
    )
    (tmp_path / "config").write_text("\n".join(ORDINARY) + "\n")
    made = SimpleNamespace(system_map=tmp_path / "System.map", config=tmp_path / "config")
    return cast("Kernel", made)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of a bay, in memory."""
    monkeypatch.setattr(temporary, "IN_MEMORY", tmp_path)
    made = tmp_path / "bay"
    made.mkdir()
    return made


@pytest.fixture
def shared(kernel: Kernel, folder: Path) -> Iterator[tuple[Memory, Guest]]:
    guest = Guest()
    with memory.shared(kernel, 8, guest, folder, same) as made:
        assert made is not None
        guest.file = made.file
        low, third, last = (TOP + PAGE * n for n in (1, 2, 3))
        guest.enter(TOP, 256, low, 3)
        guest.enter(low, 0, third, 3)
        guest.enter(third, 0, last, 3)
        guest.enter(last, 0, BEGIN + 5 * MIB, 3)
        guest.enter(last, 1, BEGIN + 3 * MIB, 3)
        guest.enter(last, 256, 0x0900_0000, 3)
        guest.enter(TOP, 0, TOP + PAGE * 4, 3)
        guest.enter(TOP + PAGE * 4, 0, TOP + PAGE * 5, 3)
        guest.enter(TOP + PAGE * 5, 0, BEGIN + 2 * MIB, 1)
        yield made, guest


def test_a_page_is_found_by_the_kernels_table(shared: tuple[Memory, Guest]) -> None:
    made, guest = shared
    guest.put(BEGIN + 5 * MIB + 0x123, b"here")
    assert made.read(STACK + 0x123, 4) == b"here"
    assert made.read(STACK + 0x123, 4) == b"here"
    assert guest.asked == 1


def test_what_crosses_a_page_is_read_from_both(shared: tuple[Memory, Guest]) -> None:
    made, guest = shared
    guest.put(BEGIN + 5 * MIB + PAGE - 2, b"ab")
    guest.put(BEGIN + 3 * MIB, b"cd")
    assert made.read(STACK + PAGE - 2, 4) == b"abcd"


def test_a_block_has_no_last_table(shared: tuple[Memory, Guest]) -> None:
    made, guest = shared
    guest.put(BEGIN + 3 * MIB + 8, b"block")
    assert made.read(LINEAR + MIB + 8, 5) == b"block"


@pytest.mark.parametrize(
    "address", [STACK + 2 * PAGE, STACK + SECOND[2], STACK + SECOND[1], STACK + SECOND[0]]
)
def test_what_no_table_has_is_not_mapped(shared: tuple[Memory, Guest], address: int) -> None:
    made, _ = shared
    with pytest.raises(UnmappedError, match=f"{address:#x} is not mapped"):
        made.read(address, 8)
    with pytest.raises(UnmappedError):  # nor is what begins before it
        made.read(STACK + 2 * PAGE - 4, 8)


@pytest.mark.parametrize("address", [0x40_0000, 0xFF_8000_0000_0000, DEVICE])
def test_a_program_and_a_device_are_the_monitors(
    shared: tuple[Memory, Guest], address: int
) -> None:
    made, _ = shared
    assert made.read(address, 8) is None


def test_a_file_that_qemu_does_not_map_is_not_believed(shared: tuple[Memory, Guest]) -> None:
    made, guest = shared
    guest.elsewhere = True
    assert made.read(STACK, 8) is None
    guest.elsewhere = False
    assert made.read(STACK, 8) is None
    assert guest.asked == 1


def test_a_cpu_in_user_space_is_asked_again(shared: tuple[Memory, Guest]) -> None:
    made, guest = shared
    guest.physical_of_table = None
    assert made.read(STACK, 8) is None
    guest.physical_of_table = TOP
    assert made.read(STACK, 8) == bytes(8)


def test_without_the_symbol_there_is_only_the_monitor(
    shared: tuple[Memory, Guest], kernel: Kernel
) -> None:
    made, guest = shared
    kernel.system_map.write_text("ffff800008000000 T _text\n")
    assert made.read(STACK, 8) is None
    assert guest.asked == 0


def test_the_file_loses_its_name_and_is_read_on(shared: tuple[Memory, Guest]) -> None:
    made, guest = shared
    assert made.read(STACK, 8) == bytes(8)
    made.unlink()
    assert not guest.file.exists()
    assert made.read(STACK, 8) == bytes(8)


def test_whatever_happens_no_file_is_left(kernel: Kernel, folder: Path) -> None:
    def refuse(path: Path) -> Path:
        raise PermissionError(path)

    with pytest.raises(PermissionError), memory.shared(kernel, 8, Guest(), folder, refuse):
        pytest.fail("it was entered")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("config", "free", "possible"),
    [
        (ORDINARY, 4 * 512, True),
        (ORDINARY, 4 * 512 - 1, False),
        (ORDINARY[:1], 4 * 512, False),
        (("CONFIG_ARM64_64K_PAGES=y", ORDINARY[1]), 4 * 512, False),
        ((ORDINARY[0], "CONFIG_ARM64_VA_BITS=52"), 4 * 512, False),
    ],
)
def test_only_where_there_is_room_for_several(
    kernel: Kernel,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: tuple[str, ...],
    free: int,
    possible: bool,  # noqa: FBT001 -- of the table
) -> None:
    kernel.config.write_text("\n".join(config) + "\n")
    usage = SimpleNamespace(free=free * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    with memory.shared(kernel, 512, Guest(), folder, same) as made:
        assert (made is not None) is possible


def test_not_where_there_is_no_such_folder(kernel: Kernel, tmp_path: Path) -> None:
    with memory.shared(kernel, 512, Guest(), tmp_path, same) as made:
        assert made is None
