# SPDX-License-Identifier: GPL-2.0-only
"""The registers of the context that kdb has stopped, read from memory instead of asking kdb."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kstep.build import system_map
from kstep.console.kdb import REGISTERS

if TYPE_CHECKING:
    from kstep.arm64.emulator import Read
    from kstep.machine.interface import Machine

POINTER = "kdb_current_regs"  # kernel/debug/kdb/kdb_main.c: to the stopped context's struct pt_regs
# That begins with x0 to x30, sp, pc and pstate (arch/arm64/include/uapi/asm/ptrace.h).
FRAME = struct.Struct(f"<{len(REGISTERS)}Q")
WORD = 8  # bytes


class Context:
    """The stopped context, as a debugger; ``pointer`` is the address of POINTER.

    For each register of ``rd`` kdb formats and prints several times, which takes two milliseconds.
    """

    def __init__(self, pointer: int, read: Read) -> None:
        self._pointer = pointer
        self._read = read

    @classmethod
    def of(cls, machine: Machine) -> Context | None:
        """Return that of a machine; None if kdb is asked sooner, or this kernel has no POINTER."""
        if not machine.shares_memory:
            return None
        pointer = system_map.find(machine.kernel.system_map, POINTER)
        return None if pointer is None else cls(pointer, machine.read)

    def registers(self) -> dict[str, int]:
        """Return x0 to x30, sp, pc and pstate."""
        values = FRAME.unpack(self._read(self._frame(), FRAME.size))
        return dict(zip(REGISTERS, values, strict=True))

    def register(self, name: str) -> int:
        """Return one of them."""
        return self._word(self._frame() + WORD * REGISTERS.index(name))

    def _frame(self) -> int:
        return self._word(self._pointer)

    def _word(self, address: int) -> int:
        return int.from_bytes(self._read(address, WORD), "little")
