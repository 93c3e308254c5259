# SPDX-License-Identifier: GPL-2.0-only
"""Which registers and memory an arm64 instruction reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kstep.arm64 import daif

if TYPE_CHECKING:
    from collections.abc import Mapping


FLAGS = 32  # NZCV, as a register's number after those of x0 to x30 and sp
_LINK, _SP_OR_ZERO = 30, 31
_FIELDS: Mapping[str, int] = {"d": 0, "n": 5, "m": 16, "a": 10}  # bits of a register's number


class Access(NamedTuple):
    """Memory that an instruction reads or writes: ``size`` bytes at ``base`` and ``offset``.

    ``base`` is a register's number; None if the address is not base and offset.
    """

    store: bool
    base: int | None
    offset: int
    size: int

    def address(self, registers: Mapping[str, int]) -> int:
        """Return the address, given the registers before the instruction; ``base`` is known."""
        name = "sp" if self.base == _SP_OR_ZERO else f"x{self.base}"
        return (registers[name] + self.offset) % (1 << 64)


class Use(NamedTuple):
    """What an instruction uses: registers by number, memory, and whether it reads a clock."""

    reads: frozenset[int]
    writes: frozenset[int]
    clock: bool
    access: Access | None


class _Form(NamedTuple):
    """Instructions of one form: a letter of _FIELDS is the register that the field names.

    A written register 31 is none, or with the letter ``s`` the stack pointer. ``f`` are the
    flags, ``l`` the link register, ``c`` a clock that is read. ``memory`` begins with r if it
    is read, or w if it is written; then, if the address is known, comes the form of the offset:
    u (imm12, in units of the size), s (imm9), p (imm7, of a pair), 0 (none).
    """

    mask: int
    value: int
    reads: str
    writes: str
    memory: str = ""


def uses(word: int) -> Use | None:
    """Return what an instruction uses; None if it may do more than that.

    None for an instruction that writes a system register, is an atomic operation, raises an
    exception, or uses vector registers.
    """
    form = next((each for each in _FORMS if word & each.mask == each.value), None)
    if form is None:
        return None
    reads = {word >> _FIELDS[letter] & 31 for letter in form.reads if letter in _FIELDS}
    writes = {word >> _FIELDS[letter] & 31 for letter in form.writes if letter in _FIELDS}
    writes.discard(_SP_OR_ZERO)
    if "s" in form.writes:
        writes.add(word & 31)
    if "n" in form.writes:  # the base, which may be sp
        writes.add(word >> 5 & 31)
    for used, letters in ((reads, form.reads), (writes, form.writes)):
        if "l" in letters:
            used.add(_LINK)
        if "f" in letters:
            used.add(FLAGS)
    access = _access(word, form.memory) if form.memory else None
    return Use(frozenset(reads), frozenset(writes), "c" in form.writes, access)


def _access(word: int, memory: str) -> Access:
    kind, store = memory[1:], memory[0] == "w"
    size, base = 1 << (word >> 30), word >> 5 & 31
    if kind == "u":
        return Access(store, base, (word >> 10 & 0xFFF) * size, size)
    if kind == "s":
        return Access(store, base, _signed(word >> 12, 9), size)
    if kind == "p":
        each = 8 if word >> 31 else 4
        return Access(store, base, _signed(word >> 15, 7) * each, 2 * each)
    if kind == "0":
        return Access(store, base, 0, size)
    return Access(store, None, 0, 0)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (value >> bits - 1 << bits)


# Arm ARM (DDI 0487), C4.1, group by group; the first form that matches counts.
_FORMS = tuple(
    _Form(*each)
    for each in (
        # data processing with an immediate
        (0x1F00_0000, 0x1000_0000, "", "d"),  # ADR, ADRP
        (0x3F00_0000, 0x3100_0000, "n", "df"),  # ADDS, SUBS
        (0x3F00_0000, 0x1100_0000, "n", "s"),  # ADD, SUB
        (0x7F80_0000, 0x7200_0000, "n", "df"),  # ANDS
        (0x1F80_0000, 0x1200_0000, "n", "s"),  # AND, ORR, EOR
        (0x7F80_0000, 0x7280_0000, "d", "d"),  # MOVK
        (0x1F80_0000, 0x1280_0000, "", "d"),  # MOVN, MOVZ
        (0x7F80_0000, 0x3300_0000, "nd", "d"),  # BFM
        (0x1F80_0000, 0x1300_0000, "n", "d"),  # SBFM, UBFM
        (0x1F80_0000, 0x1380_0000, "nm", "d"),  # EXTR
        # branches, hints, barriers, DAIF, reads of system registers
        (0xFC00_0000, 0x1400_0000, "", ""),  # B
        (0xFC00_0000, 0x9400_0000, "", "l"),  # BL
        (0xFF00_0000, 0x5400_0000, "f", ""),  # B.cond
        (0x7E00_0000, 0x3400_0000, "d", ""),  # CBZ, CBNZ
        (0x7E00_0000, 0x3600_0000, "d", ""),  # TBZ, TBNZ
        (0xFFFF_FC1F, 0xD61F_0000, "n", ""),  # BR
        (0xFFFF_FC1F, 0xD63F_0000, "n", "l"),  # BLR
        (0xFFFF_FC1F, 0xD65F_0000, "n", ""),  # RET
        (0xFFFF_FBFF, 0xD65F_0BFF, "ld", ""),  # RETAA, RETAB
        (0xFFFF_FF9F, 0xD503_201F, "", ""),  # NOP, YIELD, WFE, WFI
        (0xFFFF_FFDF, 0xD503_209F, "", ""),  # SEV, SEVL
        (0xFFFF_FF7F, 0xD503_221F, "", ""),  # ESB, CSDB
        (0xFFFF_FF3F, 0xD503_241F, "", ""),  # BTI
        (0xFFFF_FF3F, 0xD503_233F, "ld", "l"),  # PACIASP, PACIBSP, AUTIASP, AUTIBSP
        (0xFFFF_F01F, 0xD503_301F, "", ""),  # DMB, DSB, ISB
        (daif.IMMEDIATE & ~0x20, daif.SET & ~0x20, "", ""),  # MSR DAIFSet, DAIFClr
        (daif.REGISTER, daif.MSR, "d", ""),  # MSR DAIF
        (0xFFFF_F000, 0xD53B_E000, "", "dc"),  # MRS of CNTVCT_EL0 and other counters
        (0xFFF0_0000, 0xD530_0000, "", "d"),  # MRS
        # data processing with registers
        (0x7F00_0000, 0x6A00_0000, "nm", "df"),  # ANDS, BICS
        (0x1F00_0000, 0x0A00_0000, "nm", "d"),  # AND, ORR, EOR, BIC, ORN, EON
        (0x3F00_0000, 0x2B00_0000, "nm", "df"),  # ADDS, SUBS
        (0x3F20_0000, 0x0B20_0000, "nm", "s"),  # ADD, SUB (extended register)
        (0x3F20_0000, 0x0B00_0000, "nm", "d"),  # ADD, SUB (shifted register)
        (0x1F00_0000, 0x1B00_0000, "nma", "d"),  # 3 sources: MADD etc.
        (0x5FE0_0000, 0x5AC0_0000, "n", "d"),  # 1 source
        (0x5FE0_0000, 0x1AC0_0000, "nm", "d"),  # 2 sources
        (0x1FE0_0000, 0x1A80_0000, "nmf", "d"),  # conditional select: CSEL etc.
        (0x1FE0_0800, 0x1A40_0800, "nf", "f"),  # CCMN, CCMP of an immediate
        (0x1FE0_0800, 0x1A40_0000, "nmf", "f"),  # CCMN, CCMP of a register
        (0x3FE0_FC00, 0x3A00_0000, "nmf", "df"),  # ADCS, SBCS
        (0x3FE0_FC00, 0x1A00_0000, "nmf", "d"),  # ADC, SBC
        # loads and stores of general registers; PRFM does neither
        (0xFF00_0000, 0xD800_0000, "", ""),  # PRFM (literal)
        (0x3F00_0000, 0x1800_0000, "", "d", "r"),  # LDR (literal)
        (0x3EC0_0000, 0x28C0_0000, "n", "dan", "r"),  # LDP with writeback
        (0x3EC0_0000, 0x2880_0000, "nda", "n", "w"),  # STP with writeback
        (0x3EC0_0000, 0x2840_0000, "n", "da", "rp"),  # LDP, LDNP
        (0x3EC0_0000, 0x2800_0000, "nda", "", "wp"),  # STP, STNP
        (0x3F60_0000, 0x0840_0000, "n", "d", "r0"),  # LDXR, LDAXR, LDAR
        (0x3FE0_0000, 0x0880_0000, "nd", "", "w0"),  # STLR
        (0x3FFF_FC00, 0x38BF_C000, "n", "d", "r0"),  # LDAPR: READ_ONCE() of a kernel with LTO
        (0x3FE0_0C00, 0x1940_0000, "n", "d", "rs"),  # LDAPUR
        (0x3FA0_0C00, 0x1980_0000, "n", "d", "rs"),  # LDAPURS
        (0x3FE0_0C00, 0x1900_0000, "nd", "", "ws"),  # STLUR
        (0xBFE0_0000, 0x8860_0000, "n", "da", "r"),  # LDXP, LDAXP
        (0xFFC0_0000, 0xF980_0000, "n", ""),  # PRFM
        (0xFFE0_0C00, 0xF880_0000, "n", ""),  # PRFUM
        (0xFFE0_0C00, 0xF8A0_0800, "nm", ""),  # PRFM (register offset)
        (0x3FC0_0000, 0x3900_0000, "nd", "", "wu"),  # STR
        (0x3FC0_0000, 0x3940_0000, "n", "d", "ru"),  # LDR
        (0x3F80_0000, 0x3980_0000, "n", "d", "ru"),  # LDRS
        (0x3FE0_0400, 0x3800_0400, "nd", "n", "w"),  # STR with writeback
        (0x3FE0_0400, 0x3840_0400, "n", "dn", "r"),  # LDR with writeback
        (0x3FA0_0400, 0x3880_0400, "n", "dn", "r"),  # LDRS with writeback
        (0x3FE0_0400, 0x3800_0000, "nd", "", "ws"),  # STUR, STTR
        (0x3FE0_0400, 0x3840_0000, "n", "d", "rs"),  # LDUR, LDTR
        (0x3FA0_0400, 0x3880_0000, "n", "d", "rs"),  # LDURS, LDTRS
        (0x3FE0_0C00, 0x3820_0800, "nmd", "", "w"),  # STR (register offset)
        (0x3FE0_0C00, 0x3860_0800, "nm", "d", "r"),  # LDR (register offset)
        (0x3FA0_0C00, 0x38A0_0800, "nm", "d", "r"),  # LDRS (register offset)
    )
)
