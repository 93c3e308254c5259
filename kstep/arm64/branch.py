# SPDX-License-Identifier: GPL-2.0-only
"""Where an arm64 single step must go, from the instruction at the old PC.

The word comes from the live text: alternatives and static keys make it differ from vmlinux.

Encodings are from the Arm ARM (DDI 0487, "A64 instruction set encoding", group "Branches,
Exception Generating and System instructions"), compared with GNU as 2.40 and QEMU's
``a64.decode``. Neither knows FEAT_CMPBR or FEAT_PAuth_LR; those rows were compared with LLVM's
tests ``MC/AArch64/CMPBR/cmpbr.s`` and ``MC/AArch64/armv9.5a-pauthlr.s``.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

Registers = Mapping[str, int]
"""Unsigned values of "x0".."x30", "sp", "pc" and "pstate" (NZCV in bits 31..28)."""

_ADDRESS_MASK = (1 << 64) - 1
_ZERO_REGISTER = 31

# A signed pointer carries its authentication code in all bits above the virtual address except
# bit 55, which distinguishes a kernel address, whose bits were ones, from a user's, whose bits
# were zeros. Assumes CONFIG_ARM64_VA_BITS=48; 52 works too, because such a kernel keeps its text
# within 48 bits (VA_BITS_MIN in asm/memory.h). The top byte is part of the code: Linux lets the
# CPU ignore it only for data (TCR_TBID1 in arch/arm64/mm/proc.S).
_AUTHENTICATION_CODE = 0xFFFF_0000_0000_0000


class Flow(StrEnum):
    """What an instruction does to the PC."""

    SEQUENTIAL = "sequential"
    BRANCH = "branch"
    CONDITIONAL = "conditional"
    INDIRECT = "indirect"
    EXCEPTION_RETURN = "exception-return"  # to ELR_EL1, which kdb cannot read
    EXCEPTION = "exception"  # to the vectors


@dataclass(frozen=True)
class Form:
    """One encoding, or several with the same effect on the PC.

    ``bits`` has 32 letters, not counting blanks: "0" and "1" are fixed, "i" is the signed
    distance of the target in words, "n" the register of an indirect branch (x30 if there is
    none), "." the rest. ``taken`` says whether a conditional branch goes to its target.
    """

    bits: str
    flow: Flow
    taken: Callable[[int, Registers], bool] | None = None
    links: bool = False
    authenticated: bool = False

    @cached_property
    def mask(self) -> int:
        """The fixed bits."""
        return self._positions("01")

    @cached_property
    def value(self) -> int:
        """The values of the fixed bits."""
        return self._positions("1")

    @cached_property
    def distance(self) -> tuple[int, int] | None:
        """The lowest bit of the distance to the target, and its width."""
        field = self._positions("i")
        return ((field & -field).bit_length() - 1, field.bit_count()) if field else None

    @cached_property
    def names_register(self) -> bool:
        """Whether bits 9..5 name the register of an indirect branch."""
        return "n" in self.bits

    def _positions(self, letters: str) -> int:
        return int("".join("01"[bit in letters] for bit in self.bits if bit != " "), 2)


@dataclass(frozen=True)
class Instruction:
    """The instruction ``word`` at the address ``pc``."""

    pc: int
    word: int
    form: Form = field(repr=False)

    @property
    def flow(self) -> Flow:
        """What it does to the PC."""
        return self.form.flow

    @property
    def links(self) -> bool:
        """Whether it is a call: leaves PC+4 in x30."""
        return self.form.links

    @property
    def target(self) -> int | None:
        """The target of a direct branch; None for other instructions."""
        if self.form.distance is None:
            return None
        lowest, width = self.form.distance
        return self.pc + 4 * _signed(self.word >> lowest, width) & _ADDRESS_MASK

    @property
    def register(self) -> str | None:
        """The register of an indirect branch, "x0".."x30" or "xzr"; None for others."""
        if self.flow is not Flow.INDIRECT:
            return None
        number = self.word >> 5 & 31 if self.form.names_register else 30
        return "xzr" if number == _ZERO_REGISTER else f"x{number}"

    @property
    def reads(self) -> tuple[str, ...]:
        """The registers that decide where it goes: "x0".."x30", "pstate"; without the zero one."""
        if self.register is not None:
            return () if self.register == "xzr" else (self.register,)
        if self.form.taken is None:
            return ()
        asked_for: defaultdict[str, int] = defaultdict(int)  # which are read is in the word alone
        self.form.taken(self.word, asked_for)
        return tuple(asked_for)

    @property
    def needs_registers(self) -> bool:
        """Whether ``successors`` must be given registers."""
        return self.flow is Flow.INDIRECT

    def successors(self, registers: Registers | None = None) -> frozenset[int]:
        """Return every address that follows in program order, given the registers before the step.

        Without ``registers`` a conditional branch may go both ways. Empty if the path ends, at an
        exception or the return from one. Raises ValueError for an indirect branch without
        ``registers``, KeyError if they lack the register that it needs.
        """
        following = self.pc + 4 & _ADDRESS_MASK
        target = self.target
        if self.register is not None:
            if registers is None:
                raise ValueError(f"the branch at {self.pc:#x} needs the value of {self.register}")
            pointer = 0 if self.register == "xzr" else registers[self.register]
            return frozenset({strip_pac(pointer) if self.form.authenticated else pointer})
        if target is not None:
            if self.form.taken is None:
                return frozenset({target})
            if registers is None:
                return frozenset({target, following})
            return frozenset({target if self.form.taken(self.word, registers) else following})
        return frozenset({following} if self.flow is Flow.SEQUENTIAL else ())


def decode(word: int, pc: int) -> Instruction:
    """Decode the 32-bit instruction ``word`` at the address ``pc``."""
    forms = _FORMS_BY_TOP_BYTE[word >> 24]
    return Instruction(pc, word, next(form for form in forms if word & form.mask == form.value))


def is_load_exclusive(word: int) -> bool:
    """Whether it is LDXR, LDAXR, LDXP, LDAXP or, of FEAT_LSUI, LDTXR or LDATXR, of any size."""
    return _is_exclusive(word, load=1)


def is_store_exclusive(word: int) -> bool:
    """Whether it is STXR, STLXR, STXP, STLXP or, of FEAT_LSUI, STTXR or STLTXR, of any size."""
    return _is_exclusive(word, load=0)


def is_exclusive(word: int) -> bool:
    """Whether it is an exclusive load or store, of any size."""
    return is_load_exclusive(word) or is_store_exclusive(word)


def is_atomic(word: int) -> bool:
    """Whether it is one of FEAT_LSE's: LDADD and its like, SWP, CAS or CASP, of any size."""
    return any(word & mask == value for mask, value in _ATOMICS)


def strip_pac(pointer: int) -> int:
    """Return the address of a signed pointer, assuming that its code is right."""
    is_kernel = pointer >> 55 & 1
    return pointer | _AUTHENTICATION_CODE if is_kernel else pointer & ~_AUTHENTICATION_CODE


def is_brk(word: int) -> bool:
    """Whether it is BRK: a breakpoint, a probe, BUG() or WARN()."""
    return word & 0xFFE0_001F == _BRK


def is_indirect_call(word: int) -> bool:
    """Whether it is BLR, authenticated or not: a call of the function in a register."""
    each = decode(word, 0)
    return each.flow is Flow.INDIRECT and each.links


def _is_exclusive(word: int, load: int) -> bool:
    return word >> 22 & 1 == load and any(word & mask == value for mask, value in _EXCLUSIVES)


def _signed(value: int, width: int) -> int:
    """Read the low ``width`` bits of ``value`` as two's complement."""
    value &= (1 << width) - 1
    return value - (value >> (width - 1) << width)


def _read(registers: Registers, number: int, width: int = 64) -> int:
    """Read the low ``width`` bits of a general-purpose register."""
    value = 0 if number == _ZERO_REGISTER else registers[f"x{number}"]
    return value & (1 << width) - 1


def _flags_match(word: int, registers: Registers) -> bool:
    nzcv = registers["pstate"] >> 28
    n, z, c, v = (bool(nzcv & bit) for bit in (8, 4, 2, 1))
    matches = (z, c, n, v, c and not z, n == v, n == v and not z)[word >> 1 & 7]
    return matches != bool(word & 1)


def _zero_matches(word: int, registers: Registers) -> bool:
    width = 64 if word >> 31 else 32
    is_zero = _read(registers, word & 31, width) == 0
    return is_zero != bool(word >> 24 & 1)


def _bit_matches(word: int, registers: Registers) -> bool:
    number = word >> 31 << 5 | word >> 19 & 31
    is_zero = not _read(registers, word & 31) >> number & 1
    return is_zero != bool(word >> 24 & 1)


# Masks and values of the single forms, of the pairs and of FEAT_LSUI. With bit 23 set these are
# the ordered loads and stores and CAS; with a size below a word, CASP.
_EXCLUSIVES = (
    (0x3FA0_0000, 0x0800_0000),
    (0xBFA0_0000, 0x8820_0000),
    (0xBFA0_0000, 0x8900_0000),
)


# LD<op> (ST<op> is LD<op> to XZR), SWP; CAS; CASP.
_ATOMICS = (
    (0x3F20_8C00, 0x3820_0000),
    (0x3F20_FC00, 0x3820_8000),
    (0x3FA0_7C00, 0x08A0_7C00),
    (0xBFA0_7C00, 0x0820_7C00),
)

WFI = 0xD503_207F
_BRK = 0xD420_0000  # with its immediate in bits 20..5

# Conditions of compare-and-branch, in bits 23..21; the first two are signed.
_REGISTER_COMPARISONS = {
    0b000: operator.gt,
    0b001: operator.ge,
    0b010: operator.gt,
    0b011: operator.ge,
    0b110: operator.eq,
    0b111: operator.ne,
}
_IMMEDIATE_COMPARISONS = _REGISTER_COMPARISONS | {0b001: operator.lt, 0b011: operator.lt}


def _comparison_holds(word: int, registers: Registers) -> bool:
    condition = word >> 21 & 7
    width = 64 if word >> 31 else 32
    if word >> 24 & 1:
        compare = _IMMEDIATE_COMPARISONS[condition]
        right = word >> 15 & 63
    else:
        compare = _REGISTER_COMPARISONS[condition]
        width = {0b00: width, 0b10: 8, 0b11: 16}[word >> 14 & 3]
        right = _read(registers, word >> 16 & 31, width)
    left = _read(registers, word & 31, width)
    if condition <= 0b001:
        left, right = _signed(left, width), _signed(right, width)
    return bool(compare(left, right))


# The first match counts.
_FORMS = (
    # B and BL
    Form("0 00101 iiiiiiiiiiiiiiiiiiiiiiiiii", Flow.BRANCH),
    Form("1 00101 iiiiiiiiiiiiiiiiiiiiiiiiii", Flow.BRANCH, links=True),
    # B.cond and BC.cond; the conditions AL and NV always hold
    Form("01010100 iiiiiiiiiiiiiiiiiii . 111.", Flow.BRANCH),
    Form("01010100 iiiiiiiiiiiiiiiiiii . ....", Flow.CONDITIONAL, taken=_flags_match),
    # CBZ and CBNZ; TBZ and TBNZ
    Form(". 011010 . iiiiiiiiiiiiiiiiiii .....", Flow.CONDITIONAL, taken=_zero_matches),
    Form(". 011011 . ..... iiiiiiiiiiiiii .....", Flow.CONDITIONAL, taken=_bit_matches),
    # FEAT_CMPBR: two conditions that are not allocated; CB<cc> (register); CBB<cc> and
    # CBH<cc>; CB<cc> (immediate)
    Form(". 111010 . 10. ..... ................", Flow.EXCEPTION),
    Form(". 1110100 ... ..... 00 iiiiiiiii .....", Flow.CONDITIONAL, taken=_comparison_holds),
    Form("0 1110100 ... ..... 1. iiiiiiiii .....", Flow.CONDITIONAL, taken=_comparison_holds),
    Form(". 1110101 ... ...... 0 iiiiiiiii .....", Flow.CONDITIONAL, taken=_comparison_holds),
    # BR, BLR, RET
    Form("1101011 0000 11111 000000 nnnnn 00000", Flow.INDIRECT),
    Form("1101011 0001 11111 000000 nnnnn 00000", Flow.INDIRECT, links=True),
    Form("1101011 0010 11111 000000 nnnnn 00000", Flow.INDIRECT),
    # BRAAZ and BRABZ, BLRAAZ and BLRABZ; BRAA and BRAB, BLRAA and BLRAB
    Form("1101011 0000 11111 00001. nnnnn 11111", Flow.INDIRECT, authenticated=True),
    Form("1101011 0001 11111 00001. nnnnn 11111", Flow.INDIRECT, authenticated=True, links=True),
    Form("1101011 1000 11111 00001. nnnnn .....", Flow.INDIRECT, authenticated=True),
    Form("1101011 1001 11111 00001. nnnnn .....", Flow.INDIRECT, authenticated=True, links=True),
    # RETAA and RETAB, RETAASPPC and RETABSPPC with a register; RETAASPPC and RETABSPPC with a label
    Form("1101011 0010 11111 00001. 11111 .....", Flow.INDIRECT, authenticated=True),
    Form("01010101 00. ................ 11111", Flow.INDIRECT, authenticated=True),
    # ERET; ERETAA and ERETAB; DRPS
    Form("1101011 0100 11111 000000 11111 00000", Flow.EXCEPTION_RETURN),
    Form("1101011 0100 11111 00001. 11111 11111", Flow.EXCEPTION_RETURN),
    Form("1101011 0101 11111 000000 11111 00000", Flow.EXCEPTION_RETURN),
    # HVC and SMC: the higher exception level returns to PC+4, and EL1 sees none of it
    Form("11010100 000 ................ 000 10", Flow.SEQUENTIAL),
    Form("11010100 000 ................ 000 11", Flow.SEQUENTIAL),
    # MSR, barriers, WFI and other hints
    Form("11010101 ........................", Flow.SEQUENTIAL),
    # the rest of the group: SVC, BRK, HLT and unallocated encodings; UDF
    Form("... 101 ..........................", Flow.EXCEPTION),
    Form("0000000000000000 ................", Flow.EXCEPTION),
    # everything else
    Form("................................", Flow.SEQUENTIAL),
)

# Finding the form is most of the work of a step, so try only those that match the top byte.
_FORMS_BY_TOP_BYTE = tuple(
    tuple(form for form in _FORMS if (top << 24 ^ form.value) & form.mask >> 24 << 24 == 0)
    for top in range(256)
)
