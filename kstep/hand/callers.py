# SPDX-License-Identifier: GPL-2.0-only
"""Who calls a function: the direct branches to it in a kernel's image."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING

from kstep.arm64.branch import Flow, decode

if TYPE_CHECKING:
    from collections.abc import Collection

    from kstep.build.kernel import Kernel
    from kstep.image.symbols import Symbols

BRANCHES = (0b000101, 0b100101)  # the top six bits of B and BL


def callers(kernel: Kernel, symbols: Symbols, targets: Collection[int]) -> list[str]:
    """Name the functions that branch to one of ``targets``, except itself, in address order.

    The image has the same layout in memory as on disk, starting at ``_text``
    (Documentation/arm64/booting.rst).
    """
    words = array("I")
    data = kernel.image.read_bytes()
    words.frombytes(data[: len(data) // words.itemsize * words.itemsize])
    if sys.byteorder == "big":
        words.byteswap()
    begin = symbols.address("_text")
    found: dict[str, None] = {}
    for number, word in enumerate(words):
        if word >> 26 in BRANCHES:
            instruction = decode(word, begin + 4 * number)
            if instruction.flow is Flow.BRANCH and instruction.target in targets:
                found[symbols.locate(instruction.pc).symbol] = None
    for target in targets:
        found.pop(symbols.locate(target).symbol, None)
    return list(found)
