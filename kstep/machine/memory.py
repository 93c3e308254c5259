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
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kstep.base import temporary
from kstep.image import symbols
from kstep.machine.interface import UnmappedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

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
PAGE = 4096
VALID, IS_TABLE = 1, 2
OUTPUT = 0xFFFF_FFFF_F000  # the bits of a descriptor that are an address


class Memory(AbstractContextManager["Memory"]):
    """The memory, of ``mib`` MiB, of a guest that runs a kernel; see ``possible``.

    ``monitor`` is asked once where the kernel's table is, and whether QEMU maps the same file:
    behind an engine that is elsewhere, it does not.
    """

    def __init__(self, kernel: Kernel, mib: int, own: Callable[[Path], Path]) -> None:
        self._kernel = kernel
        self._size = mib * MIB
        self._own = own
        self._table: int | None = None  # its physical address; 0 if nothing can be read

    @staticmethod
    def possible(kernel: Kernel, mib: int) -> bool:
        """Whether this machine has room for it, and the kernel a table that can be read."""
        try:
            room = shutil.disk_usage(temporary.IN_MEMORY).free >= SPARE * mib * MIB
            options = set(kernel.config.read_text().splitlines())
        except OSError:
            return False
        may = os.access(temporary.IN_MEMORY, os.W_OK)
        return room and may and options.issuperset(ORDINARY)

    def __enter__(self) -> Self:
        descriptor, name = tempfile.mkstemp(prefix=temporary.prefix(), dir=temporary.IN_MEMORY)
        self.file = Path(name)
        with ExitStack() as stack:
            stack.callback(self.unlink)
            stack.callback(os.close, descriptor)
            self._own(self.file)
            os.ftruncate(descriptor, self._size)
            self._map = mmap.mmap(descriptor, self._size, access=mmap.ACCESS_READ)
            stack.pop_all()
            os.close(descriptor)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unlink()
        self._map.close()

    @property
    def argv(self) -> list[str]:
        """QEMU's options."""
        file = f"memory-backend-file,id=ram,size={self._size},mem-path={self.file},share=on"
        return ["-object", file, "-machine", "memory-backend=ram"]

    def unlink(self) -> None:
        """Remove the file's name: QEMU, which runs, has it open, and it is gone with the two."""
        self.file.unlink(missing_ok=True)

    def read(self, address: int, size: int, monitor: Monitor) -> bytes | None:
        """Read at a kernel address; None if the monitor must be asked instead.

        Raises UnmappedError if it is not mapped.
        """
        if address >> 48 != KERNEL or not self._known(monitor):
            return None
        found = []
        while size:
            physical = self._physical(address)
            here = min(size, PAGE - physical % PAGE)
            if not BEGIN <= physical <= BEGIN + self._size - here:
                return None  # a device
            found.append(self._map[physical - BEGIN : physical - BEGIN + here])
            address, size = address + here, size - here
        return b"".join(found)

    def _known(self, monitor: Monitor) -> bool:
        if self._table is None and (address := symbols.find(self._kernel.system_map, TABLE)):
            table = monitor.physical(address)
            if table is None:
                return False  # as long as the CPU is in user space
            shown = self._map[table - BEGIN : table - BEGIN + PAGE]
            self._table = table if shown == monitor.read(address, PAGE) else 0
        return bool(self._table)

    def _physical(self, address: int) -> int:
        table = self._table or 0
        for shift in SHIFTS:
            at = table - BEGIN + 8 * (address >> shift & INDEX)
            descriptor = int.from_bytes(self._map[at : at + 8], "little")
            if not descriptor & VALID:
                break
            if shift == SHIFTS[-1] or not descriptor & IS_TABLE:
                within = (1 << shift) - 1
                return descriptor & OUTPUT & ~within | address & within
            table = descriptor & OUTPUT
        raise UnmappedError(f"{address:#x} is not mapped in the guest")
