# SPDX-License-Identifier: GPL-2.0-only
"""A guest's memory in a file that QEMU maps and kstep too, so that a read takes microseconds.

QEMU's own command for it takes most of a millisecond, and kdb's three. Kernel addresses are looked
up in the kernel's own page table (Arm ARM DDI 0487, "The VMSAv8-64 address translation system"),
for pages of 4 KiB and addresses of 48 bits; for others, and where the file cannot be had, a read
goes the other way.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.build import system_map
from kstep.machine.interface import UnmappedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kstep.build.kernel import Kernel
    from kstep.machine.qmp import Monitor

MIB = 1 << 20
SPARE = 4  # guests that must fit in it: more than one may run, and none must fill it
BEGIN = 0x4000_0000  # of the RAM of QEMU's virt machine (VIRT_MEM in hw/arm/virt.c)
TABLE = "swapper_pg_dir"  # of the kernel's own addresses
ORDINARY = ("CONFIG_ARM64_4K_PAGES=y", "CONFIG_ARM64_VA_BITS=48")
KERNEL = 0xFFFF  # the upper 16 bits of its addresses
SHIFTS = (39, 30, 21, 12)  # the lowest bit of each level's index
INDEX = 0x1FF
ENTRY = 8  # bytes of a table
PAGE = 4096
VALID, IS_TABLE = 1, 2
OUTPUT = 0xFFFF_FFFF_F000  # the bits of a descriptor that are an address


@contextmanager
def shared(
    kernel: Kernel, mib: int, monitor: Monitor, folder: Path, own: Callable[[Path], Path]
) -> Iterator[Memory | None]:
    """Make the memory of a guest, of ``mib`` MiB; None if that cannot be done or read.

    That is where ``folder`` is not in memory, or has no room for it, or the kernel's table has
    another form. ``own`` gives the file to whom QEMU runs as.
    """
    if not _possible(kernel, mib, folder):
        yield None
        return
    descriptor, name = tempfile.mkstemp(prefix=temporary.prefix(), dir=folder)
    try:
        own(Path(name))
        os.ftruncate(descriptor, mib * MIB)
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
            yield Memory(Path(name), content, kernel.system_map, monitor)
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


def _possible(kernel: Kernel, mib: int, folder: Path) -> bool:
    try:
        room = shutil.disk_usage(folder).free >= SPARE * mib * MIB
        options = set(kernel.config.read_text().splitlines())
    except OSError:
        return False
    in_memory = temporary.IN_MEMORY in folder.parents
    return room and in_memory and options.issuperset(ORDINARY)


class Memory:
    """The memory of a guest: ``content`` of ``file``, at physical addresses from BEGIN on.

    ``monitor`` is asked once where the kernel's table is, and whether QEMU maps the same file:
    behind an engine that is elsewhere, it does not.
    """

    def __init__(self, file: Path, content: mmap.mmap, symbols: Path, monitor: Monitor) -> None:
        self.file = file
        self._content = content
        self._symbols = symbols
        self._monitor = monitor
        self._table: int | None = None  # its physical address; 0 if nothing can be read

    @property
    def argv(self) -> list[str]:
        """QEMU's options."""
        size = len(self._content)
        backend = f"memory-backend-file,id=ram,size={size},mem-path={self.file},share=on"
        return ["-object", backend, "-machine", "memory-backend=ram"]

    def unlink(self) -> None:
        """Remove the file's name: QEMU, which runs, has it open, and it is gone with the two."""
        self.file.unlink(missing_ok=True)

    def read(self, address: int, size: int) -> bytes | None:
        """Read at a kernel address; None if the monitor must be asked instead.

        Raises UnmappedError if it is not mapped.
        """
        if address >> 48 != KERNEL or not (table := self._known_table()):
            return None
        found = []
        while size:
            physical = self._physical(table, address)
            here = min(size, PAGE - physical % PAGE)
            if not BEGIN <= physical <= BEGIN + len(self._content) - here:
                return None  # a device
            found.append(self._at(physical, here))
            address, size = address + here, size - here
        return b"".join(found)

    def _known_table(self) -> int:
        """Return the table's physical address; 0 if there is none, or none as yet."""
        if self._table is None:
            address = system_map.find(self._symbols, TABLE)
            table = 0 if address is None else self._monitor.physical(address)
            if table is None:
                return 0  # as long as the CPU is in user space
            is_here = address and self._at(table, PAGE) == self._monitor.read(address, PAGE)
            self._table = table if is_here else 0
        return self._table

    def _at(self, physical: int, size: int) -> bytes:
        return self._content[physical - BEGIN : physical - BEGIN + size]

    def _physical(self, table: int, address: int) -> int:
        for shift in SHIFTS:
            descriptor = int.from_bytes(
                self._at(table + 8 * (address >> shift & INDEX), 8), "little"
            )
            if not descriptor & VALID:
                break
            if shift == SHIFTS[-1] or not descriptor & IS_TABLE:
                within = (1 << shift) - 1
                return descriptor & OUTPUT & ~within | address & within
            table = descriptor & OUTPUT
        raise UnmappedError(f"{address:#x} is not mapped in the guest")
