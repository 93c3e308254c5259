# SPDX-License-Identifier: GPL-2.0-only
"""DAIF, the exception masks of a CPU: the instructions that read and write them.

Encodings are from the Arm ARM (DDI 0487, "MSR (immediate)", "MRS" and "MSR (register)"
with op0 3, op1 3, CRn 4, CRm 2, op2 1), compared with GNU as 2.40.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.arm64.branch import Registers


LETTERS = "DAIF"  # from bit 9 down, in DAIF as in PSTATE
LOWEST = 6
BITS = 0xF << LOWEST
DEBUG = 1 << 9
INTERRUPTS = 1 << 7
REGISTER = 0xFFFF_FFE0  # of MRS and MSR, all but the general-purpose register
IMMEDIATE = 0xFFFF_F0FF  # of DAIFSet and DAIFClr, all but the four bits
MRS, MSR, SET, CLEAR = 0xD53B_4220, 0xD51B_4220, 0xD503_40DF, 0xD503_40FF
ZERO_REGISTER = 31


def reads(word: int) -> bool:
    """Whether the instruction is `mrs xN, daif`."""
    return word & REGISTER == MRS


def writes(word: int) -> bool:
    """Whether the instruction is `msr daif, xN`, `msr daifset` or `msr daifclr`."""
    return word & REGISTER == MSR or word & IMMEDIATE in (SET, CLEAR)


def after(word: int, value: int, registers: Registers) -> int:
    """Return DAIF after an instruction, given DAIF and the registers before it."""
    operand = (word >> 8 & 0xF) << LOWEST
    if word & REGISTER == MSR:
        return general(word, registers) & BITS
    if word & IMMEDIATE == SET:
        return value | operand
    if word & IMMEDIATE == CLEAR:
        return value & ~operand
    return value


def sets_all(word: int) -> bool:
    """Whether the instruction is `msr daifset, #15`."""
    return word == SET | 0xF << 8


def general(word: int, registers: Registers) -> int:
    """Return the value of the register that MRS or MSR names."""
    number = word & 31
    return 0 if number == ZERO_REGISTER else registers[f"x{number}"]


def text(value: int) -> str:
    """Format masks as `-AI-`: a letter is a mask that is set."""
    return "".join(
        letter if value >> 9 - index & 1 else "-" for index, letter in enumerate(LETTERS)
    )


def masks_debug(word: int, read_registers: Callable[[], Registers]) -> bool:
    """Whether it sets PSTATE.D: no step traps until something clears it again.

    ``read_registers`` is called only if that depends on them.
    """
    if word & IMMEDIATE == SET:
        return bool((word >> 8 & 0xF) << LOWEST & DEBUG)
    if word & REGISTER == MSR:
        return bool(general(word, read_registers()) & DEBUG)
    return False
