# SPDX-License-Identifier: GPL-2.0-only
"""Reading the kernel: its symbols, its live text, its tables and its stack."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kstep.arm64 import daif
from kstep.arm64.branch import Flow, decode
from kstep.arm64.entry import SYNCHRONOUS, entered_by
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.judge import backtrace
from kstep.judge.call import Call
from kstep.judge.registers import Watch
from kstep.session.dialogue import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kstep.console.kdb import Stop
    from kstep.image.symbols import CodeAddress, Symbols
    from kstep.machine.interface import Machine
    from kstep.session.dialogue import Dialogue
    from kstep.session.stops import Stops

INSTRUCTION = 4  # bytes


class Inspection:
    """Reads a kernel, through the machine and through kdb."""

    def __init__(
        self, machine: Machine, symbols: Symbols, dialogue: Dialogue, stops: Stops
    ) -> None:
        self._machine = machine
        self._symbols = symbols
        self._dialogue = dialogue
        self._stops = stops

    def known(self, *functions: str) -> str:
        """Return the first of these names that is a function of this kernel.

        For a function that has other names in other versions, or by the compiler, which names a
        specialized copy such as ``f.constprop.0``.
        """
        for name in functions:
            if name in self._symbols:
                return name
            copies = (f"{name}.constprop.", f"{name}.isra.")
            if copy := next((each for each in self._symbols.names if each.startswith(copies)), ""):
                return copy
        raise MachineryError(f"this kernel has no function {' or '.join(functions)}")

    def find(self, function: str, wanted: Callable[[int], bool]) -> int:
        """Return the address of the first instruction of a function that is ``wanted``."""
        for address in self._symbols.span(function):
            if wanted(self._stops.text.word(address)):
                return address
        raise MachineryError(f"{function} has no instruction of the requested kind")

    def find_call(self, function: str, callee: str) -> int:
        """Return the address of the first direct call of ``callee`` in a function."""
        for address in self._symbols.span(function):
            each = decode(self._stops.text.word(address), address)
            if each.links and each.target == self._symbols.address(callee):
                return address
        raise MachineryError(f"{function} does not call {callee}")

    def locate(self, stop: Stop) -> CodeAddress:
        """Return the code address of a stop."""
        if stop.pc is None:
            raise MachineryError(f"kdb named no address for this stop: {stop.reason}")
        return self._symbols.locate(stop.pc)

    def successors(self, address: int) -> frozenset[int]:
        """Return the addresses to which an instruction may lead with the current registers."""
        self._dialogue.require("successors", State.KDB)
        instruction = decode(self._stops.text.word(address), address)
        return instruction.successors(self._dialogue.kdb.registers())

    def leads_on(self, address: int) -> bool:
        """Whether an instruction leads to the one behind it, whatever the registers are."""
        self._dialogue.require("leads_on", State.KDB)
        return decode(self._stops.text.word(address), address).flow is Flow.SEQUENTIAL

    def fixup(self, address: int) -> int | None:
        """Return where the kernel continues after a fault at an address; None if it has no fixup.

        The exception table is sorted; it has both addresses as offsets from their own place, since
        5.16 with a type (include/asm-generic/extable.h and arch/arm64/include/asm/extable.h).
        Before 5.16, the fixup code is outside the function, in a section of its own.
        """
        self._dialogue.require("fixup", State.KDB)
        kdb = self._dialogue.kdb
        begin = kdb.address("__start___ex_table")
        table = self._machine.read(begin, kdb.address("__stop___ex_table") - begin)
        for entry in (struct.Struct("<ii4x"), struct.Struct("<ii")):
            if len(table) % entry.size:
                continue
            entries = range(begin, begin + len(table), entry.size)
            found = {
                at + int(fault): at + 4 + int(fixup)
                for at, (fault, fixup) in zip(entries, entry.iter_unpack(table), strict=True)
            }
            if list(found) == sorted(found):
                return found.get(address)
        raise MachineryError("the kernel's exception table has an unknown format")

    def is_unmasked_in_fault(self, code: CodeAddress) -> bool:
        """Whether the kernel stopped right after it unmasked D in the entry of a fault.

        The name of the function is not used, because it depends on what the compiler inlines.
        """
        self._dialogue.require("is_unmasked_in_fault", State.KDB)
        if not daif.writes(self._stops.text.word(code.address - INSTRUCTION)):
            return False
        frame = self._dialogue.kdb.registers()["x29"]
        stack = backtrace.recorded(code.address, frame, self._machine.read)
        return entered_by(map(self._symbols.locate, stack)) == SYNCHRONOUS

    def must_show_stack(self, shown: str, registers: Mapping[str, int]) -> None:
        """Compare a printed backtrace with the stack in memory, from ``pc`` and ``x29`` on.

        Raises KernelFault ``wrong-result`` if a frame is missing or differs.
        """
        stack = backtrace.recorded(registers["pc"], registers["x29"], self._machine.read)
        if fault := backtrace.disagreement(backtrace.printed(shown), stack, self._symbols):
            raise KernelFault(
                Signature.WRONG_RESULT, f"the backtrace differs from the stack: {fault}"
            )

    def call(self) -> Call:
        """Record the call at which a breakpoint on a function stopped (``rd``)."""
        self._dialogue.require("call", State.KDB)
        return Call(self._stops.here, self._dialogue.kdb)

    def watch_registers(self) -> Watch:
        """Start comparing registers with the steps that follow the current stop."""
        self._dialogue.require("watch_registers", State.KDB)
        return Watch(self._dialogue.context, self._stops.text, self._machine.read)
