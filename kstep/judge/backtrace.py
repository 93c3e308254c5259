# SPDX-License-Identifier: GPL-2.0-only
"""Backtraces: what the frame records in memory say, and whether a printed one says the same."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.arm64.branch import unsigned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kstep.image.symbols import Symbols

# As "%pSb" prints it; since 6.13 arch/arm64/kernel/stacktrace.c adds where it knows it from.
PRINTED = re.compile(
    r"^ (?P<symbol>[\w.$]+)\+0x(?P<offset>[0-9a-f]+)/0x[0-9a-f]+(?: \(\w+\))?$", re.MULTILINE
)
RECORD = struct.Struct("<QQ")  # the caller's record, and where the function returns to
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
        """Whether this is ``address``, whichever of its names is printed.

        An address behind a call may be where the next function begins, so the kernel looks up
        the one before (kernel/kallsyms.c, sprint_backtrace()).
        """
        if self.symbol in symbols and symbols.address(self.symbol) + self.offset == address:
            return True
        place = symbols.place(address - 1)
        return (place.symbol, place.offset + 1) == (self.symbol, self.offset)


def printed(text: str) -> list[Frame]:
    """Read the frames of a backtrace that the kernel printed, the innermost first."""
    return [Frame(each["symbol"], int(each["offset"], 16)) for each in PRINTED.finditer(text)]


def recorded(pc: int, frame_pointer: int, read: Callable[[int, int], bytes]) -> list[int]:
    """Follow the frame records (AAPCS64, 6.4.6) from where code is to where it was called from.

    The record that ends the kernel's part of a stack holds two zeros. A kernel that signs
    its return addresses (CONFIG_ARM64_PTR_AUTH_KERNEL) has them signed there.
    """
    found = [pc]
    record = frame_pointer
    while record and len(found) < DEEPEST:
        record, back = RECORD.unpack(read(record, RECORD.size))
        if not back:
            break
        found.append(unsigned(back))
    return found


def disagreement(shown: Sequence[Frame], stack: Sequence[int], symbols: Symbols) -> str:
    """Say where the frames that are shown first differ from a stack; "" where they do not.

    The debugger's own frames may be shown before those of the stack.
    """
    start = next((n for n, frame in enumerate(shown) if frame.is_at(stack[0], symbols)), None)
    if start is None:
        return f"{symbols.place(stack[0])} is not in it"
    for number, address in enumerate(stack):
        here = start + number
        if here == len(shown):
            return f"it ends where {symbols.place(address)} should come"
        if not shown[here].is_at(address, symbols):
            return f"it shows {shown[here]} in the place of {symbols.place(address)}"
    return ""
