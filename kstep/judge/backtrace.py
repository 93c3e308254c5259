# SPDX-License-Identifier: GPL-2.0-only
"""Backtraces: reads frame records in memory, and compares a printed backtrace with them."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.arm64.branch import strip_pac
from kstep.base.outcome import KernelFault, Signature
from kstep.machine.interface import UnmappedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kstep.image.symbols import Symbols

# The format of "%pSb"; since 6.13 arch/arm64/kernel/stacktrace.c adds the source of the entry.
PRINTED = re.compile(
    r"^ (?P<symbol>[\w.$]+)\+0x(?P<offset>[0-9a-f]+)/0x[0-9a-f]+(?: \(\w+\))?$", re.MULTILINE
)
RECORD = struct.Struct("<QQ")  # the caller's record, and the return address
DEEPEST = 100


@dataclass(frozen=True)
class Frame:
    """A line of a printed backtrace."""

    symbol: str
    offset: int

    def __str__(self) -> str:
        """Return the line as it was printed, without the function's size."""
        return f"{self.symbol}+{self.offset:#x}"

    def is_at(self, address: int, symbols: Symbols) -> bool:
        """Whether this is ``address``, under any of its names.

        A return address may be the start of the next function, so the kernel looks up the
        address before it (kernel/kallsyms.c, sprint_backtrace()).
        """
        if self.symbol in symbols and symbols.address(self.symbol) + self.offset == address:
            return True
        found = symbols.locate(address - 1)
        return (found.symbol, found.offset + 1) == (self.symbol, self.offset)


def printed(text: str) -> list[Frame]:
    """Read the frames of a backtrace that the kernel printed, the innermost first."""
    return [Frame(each["symbol"], int(each["offset"], 16)) for each in PRINTED.finditer(text)]


def recorded(pc: int, frame_pointer: int, read: Callable[[int, int], bytes]) -> list[int]:
    """Follow the frame records (AAPCS64, 6.4.6) from ``pc`` to the outermost caller.

    The record that ends the kernel's part of a stack holds two zeros. With
    CONFIG_ARM64_PTR_AUTH_KERNEL the return addresses in the records are signed. Raises KernelFault
    ``wrong-result`` if they lead to an address that is not mapped, such as a user's: what named
    it, the debugger or the stack, is wrong.
    """
    found = [pc]
    record = frame_pointer
    while record and len(found) < DEEPEST:
        try:
            record, back = RECORD.unpack(read(record, RECORD.size))
        except UnmappedError as error:
            raise KernelFault(
                Signature.WRONG_RESULT,
                f"frame {len(found)} of the stack from {pc:#x} is at {record:#x}, which is not"
                " mapped in the kernel",
            ) from error
        if not back:
            break
        found.append(strip_pac(back))
    return found


def disagreement(shown: Sequence[Frame], stack: Sequence[int], symbols: Symbols) -> str:
    """Return where the shown frames first differ from a stack; "" if they do not.

    The debugger's own frames may come before those of the stack.
    """
    start = next((n for n, frame in enumerate(shown) if frame.is_at(stack[0], symbols)), None)
    if start is None:
        return f"{symbols.locate(stack[0])} is not in it"
    for number, address in enumerate(stack):
        here = start + number
        if here == len(shown):
            return f"it ends before {symbols.locate(address)}"
        if not shown[here].is_at(address, symbols):
            return f"it shows {shown[here]}, not {symbols.locate(address)}"
    return ""
