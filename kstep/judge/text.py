# SPDX-License-Identifier: GPL-2.0-only
"""The live text of a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstep.machine.interface import Machine


class LiveText:
    """The live text of a guest, read in chunks while it is stopped.

    It differs from vmlinux: alternatives and static keys are patched in at run time.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chunks: dict[int, bytes] = {}

    def word(self, address: int) -> int:
        """Return the instruction at an address."""
        size = self._machine.chunk
        begin = address & -size
        if begin not in self._chunks:
            self._chunks[begin] = self._machine.read(begin, size)
        offset = address - begin
        return int.from_bytes(self._chunks[begin][offset : offset + 4], "little")

    def forget(self) -> None:
        """Drop what was read, because the guest has run and may have patched itself."""
        self._chunks.clear()
