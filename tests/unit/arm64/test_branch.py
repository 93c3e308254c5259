# SPDX-License-Identifier: GPL-2.0-only
"""The oracle against GNU as, LLVM's tests, capstone and plain arithmetic."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import capstone
import pytest
from capstone import arm64
from hypothesis import example, given
from hypothesis import strategies as st

from kstep.arm64.branch import (
    Flow,
    decode,
    is_atomic,
    is_load_exclusive,
    is_store_exclusive,
)
from kstep.arm64.daif import masks_debug

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PC = 0xFFFF_8000_0812_3450
FOLLOWING = PC + 4

# Every word here was assembled by GNU as 2.40; test_gnu_as_agrees says so again where it is.
GNU_BRANCHES = [  # word, assembly, flow, distance in bytes, links
    (0x16000000, "b .-0x8000000", Flow.BRANCH, -0x8000000, False),
    (0x15FFFFFF, "b .+0x7fffffc", Flow.BRANCH, 0x7FFFFFC, False),
    (0x14000000, "b .", Flow.BRANCH, 0, False),
    (0x96000000, "bl .-0x8000000", Flow.BRANCH, -0x8000000, True),
    (0x95FFFFFF, "bl .+0x7fffffc", Flow.BRANCH, 0x7FFFFFC, True),
    (0x54800000, "b.eq .-0x100000", Flow.CONDITIONAL, -0x100000, False),
    (0x547FFFE0, "b.eq .+0xffffc", Flow.CONDITIONAL, 0xFFFFC, False),
    (0x5400004E, "b.al .+8", Flow.BRANCH, 8, False),
    (0x5400004F, ".inst 0x5400004f // b.nv .+8", Flow.BRANCH, 8, False),
    (0x54800011, "bc.ne .-0x100000", Flow.CONDITIONAL, -0x100000, False),
    (0x547FFFFD, "bc.le .+0xffffc", Flow.CONDITIONAL, 0xFFFFC, False),
    (0x34800001, "cbz w1, .-0x100000", Flow.CONDITIONAL, -0x100000, False),
    (0xB47FFFFE, "cbz x30, .+0xffffc", Flow.CONDITIONAL, 0xFFFFC, False),
    (0x35000041, "cbnz w1, .+8", Flow.CONDITIONAL, 8, False),
    (0xB5FFFFE1, "cbnz x1, .-4", Flow.CONDITIONAL, -4, False),
    (0x36040002, "tbz w2, #0, .-0x8000", Flow.CONDITIONAL, -0x8000, False),
    (0xB6FBFFE2, "tbz x2, #63, .+0x7ffc", Flow.CONDITIONAL, 0x7FFC, False),
    (0xB7000042, "tbnz x2, #32, .+8", Flow.CONDITIONAL, 8, False),
    (0x372FFFE2, "tbnz w2, #5, .-4", Flow.CONDITIONAL, -4, False),
]
GNU_INDIRECT = [  # word, assembly, register, links, authenticated
    (0xD61F0000, "br x0", "x0", False, False),
    (0xD61F03C0, "br x30", "x30", False, False),
    (0xD61F03E0, "br xzr", "xzr", False, False),
    (0xD63F0220, "blr x17", "x17", True, False),
    (0xD65F03C0, "ret", "x30", False, False),
    (0xD65F00A0, "ret x5", "x5", False, False),
    (0xD71F0822, "braa x1, x2", "x1", False, True),
    (0xD71F0C7F, "brab x3, sp", "x3", False, True),
    (0xD61F08BF, "braaz x5", "x5", False, True),
    (0xD61F0CDF, "brabz x6", "x6", False, True),
    (0xD73F08E8, "blraa x7, x8", "x7", True, True),
    (0xD73F0D3F, "blrab x9, sp", "x9", True, True),
    (0xD63F095F, "blraaz x10", "x10", True, True),
    (0xD63F0D7F, "blrabz x11", "x11", True, True),
    (0xD65F0BFF, "retaa", "x30", False, True),
    (0xD65F0FFF, "retab", "x30", False, True),
]
GNU_OTHERS = [  # word, assembly, flow
    (0xD69F03E0, "eret", Flow.EXCEPTION_RETURN),
    (0xD69F0BFF, "eretaa", Flow.EXCEPTION_RETURN),
    (0xD69F0FFF, "eretab", Flow.EXCEPTION_RETURN),
    (0xD6BF03E0, "drps", Flow.EXCEPTION_RETURN),
    (0xD4000001, "svc #0", Flow.EXCEPTION),
    (0xD41FFFE1, "svc #0xffff", Flow.EXCEPTION),
    (0xD4208000, "brk #0x400", Flow.EXCEPTION),
    (0xD45E0000, "hlt #0xf000", Flow.EXCEPTION),
    (0xD4A00001, "dcps1", Flow.EXCEPTION),
    (0x00000000, "udf #0", Flow.EXCEPTION),
    (0x0000FFFF, "udf #0xffff", Flow.EXCEPTION),
    (0xD4000002, "hvc #0", Flow.SEQUENTIAL),
    (0xD41FFFE2, "hvc #0xffff", Flow.SEQUENTIAL),
    (0xD4000003, "smc #0", Flow.SEQUENTIAL),
    (0xD41FFFE3, "smc #0xffff", Flow.SEQUENTIAL),
    (0xD503201F, "nop", Flow.SEQUENTIAL),
    (0xD503207F, "wfi", Flow.SEQUENTIAL),
    (0xD503205F, "wfe", Flow.SEQUENTIAL),
    (0xD5031000, "wfet x0", Flow.SEQUENTIAL),
    (0xD5033FDF, "isb", Flow.SEQUENTIAL),
    (0xD50348FF, "msr daifclr, #8", Flow.SEQUENTIAL),
    (0xD5100240, "msr mdscr_el1, x0", Flow.SEQUENTIAL),
    (0xD5300240, "mrs x0, mdscr_el1", Flow.SEQUENTIAL),
    (0xD503245F, "bti c", Flow.SEQUENTIAL),
    (0xD50323BF, "autiasp", Flow.SEQUENTIAL),
    (0xAA0103E0, "mov x0, x1", Flow.SEQUENTIAL),
    (0xF9400020, "ldr x0, [x1]", Flow.SEQUENTIAL),
    (0x10000020, "adr x0, .+4", Flow.SEQUENTIAL),
]
GNU_ATOMICS = [  # word, assembly
    (0xB8210062, "ldadd w1, w2, [x3]"),
    (0xF8E10062, "ldaddal x1, x2, [x3]"),
    (0xB821005F, "stadd w1, [x2]"),
    (0x38211062, "ldclrb w1, w2, [x3]"),
    (0xF8A13062, "ldseta x1, x2, [x3]"),
    (0xB8217062, "ldumin w1, w2, [x3]"),
    (0xF8218062, "swp x1, x2, [x3]"),
    (0x78E18062, "swpalh w1, w2, [x3]"),
    (0x88A17C62, "cas w1, w2, [x3]"),
    (0xC8E1FC62, "casal x1, x2, [x3]"),
    (0x08A17C62, "casb w1, w2, [x3]"),
    (0x48227CC4, "casp x2, x3, x4, x5, [x6]"),
    (0x0862FCC4, "caspal w2, w3, w4, w5, [x6]"),
]

GNU_PLAIN_ACCESSES = [  # word, assembly: their neighbours among the encodings
    (0xF8BFC041, "ldapr x1, [x2]"),
    (0xC8DFFC41, "ldar x1, [x2]"),
    (0xC89FFC41, "stlr x1, [x2]"),
    (0xF8636841, "ldr x1, [x2, x3]"),
    (0xF8408441, "ldr x1, [x2], #8"),
    (0xF8408041, "ldur x1, [x2, #8]"),
    (0xF8A36840, "prfm pldl1keep, [x2, x3]"),
    (0xC89F7C41, "stllr x1, [x2]"),
]

GNU_EXCLUSIVES = [  # word, assembly
    (0x885F7C20, "ldxr w0, [x1]"),
    (0xC85F7C20, "ldxr x0, [x1]"),
    (0x085F7C20, "ldxrb w0, [x1]"),
    (0x485F7C20, "ldxrh w0, [x1]"),
    (0xC85FFC20, "ldaxr x0, [x1]"),
    (0x085FFC20, "ldaxrb w0, [x1]"),
    (0x485FFC20, "ldaxrh w0, [x1]"),
    (0x887F0820, "ldxp w0, w2, [x1]"),
    (0xC87F0820, "ldxp x0, x2, [x1]"),
    (0xC87F8820, "ldaxp x0, x2, [x1]"),
    (0x88037C20, "stxr w3, w0, [x1]"),
    (0xC8037C20, "stxr w3, x0, [x1]"),
    (0x08037C20, "stxrb w3, w0, [x1]"),
    (0x48037C20, "stxrh w3, w0, [x1]"),
    (0xC803FC20, "stlxr w3, x0, [x1]"),
    (0x0803FC20, "stlxrb w3, w0, [x1]"),
    (0x4803FC20, "stlxrh w3, w0, [x1]"),
    (0x88230820, "stxp w3, w0, w2, [x1]"),
    (0xC8230820, "stxp w3, x0, x2, [x1]"),
    (0xC8238820, "stlxp w3, x0, x2, [x1]"),
    (0xC8A07C41, "cas x0, x1, [x2]"),
    (0x08E07C41, "casab w0, w1, [x2]"),
    (0x08207C82, "casp w0, w1, w2, w3, [x4]"),
    (0x4860FC82, "caspal x0, x1, x2, x3, [x4]"),
    (0xF8200041, "ldadd x0, x1, [x2]"),
    (0xF8E08041, "swpal x0, x1, [x2]"),
    (0xC8DFFC20, "ldar x0, [x1]"),
    (0xC89FFC20, "stlr x0, [x1]"),
    (0xC8DF7C20, "ldlar x0, [x1]"),
    (0xC89F7C20, "stllr x0, [x1]"),
    (0xF8BFC020, "ldapr x0, [x1]"),
    (0xD5033F5F, "clrex"),
]

# GNU as 2.40 knows none of these: words from LLVM's tests, named in kstep/arm64/branch.py.
LLVM_COMPARE_AND_BRANCH = [  # word, assembly, distance in bytes
    (0x74052005, "cbgt w5, w5, #-1024", -1024),
    (0xF4051FE5, "cbgt x5, x5, #1020", 1020),
    (0xF4222002, "cbge x2, x2, #-1024", -1024),
    (0x74251FE5, "cbge w5, w5, #1020", 1020),
    (0x74452005, "cbhi w5, w5, #-1024", -1024),
    (0xF4621FE2, "cbhs x2, x2, #1020", 1020),
    (0xF4C51FE5, "cbeq x5, x5, #1020", 1020),
    (0x74E52005, "cbne w5, w5, #-1024", -1024),
    (0x7405E005, "cbhgt w5, w5, #-1024", -1024),
    (0x74E5E005, "cbhne w5, w5, #-1024", -1024),
    (0x7405A005, "cbbgt w5, w5, #-1024", -1024),
    (0x74E5A005, "cbbne w5, w5, #-1024", -1024),
    (0x751F9FE5, "cbgt w5, #63, #1020", 1020),
    (0xF5002005, "cbgt x5, #0, #-1024", -1024),
    (0x753F9FE5, "cblt w5, #63, #1020", 1020),
    (0xF55FA005, "cbhi x5, #63, #-1024", -1024),
    (0x756F9FE5, "cblo w5, #31, #1020", 1020),
    (0xF5CFA005, "cbeq x5, #31, #-1024", -1024),
    (0x75EF9FE5, "cbne w5, #31, #1020", 1020),
]
LLVM_RETURNS = [  # word, assembly
    (0x5500001F, "retaasppc #0"),
    (0x551FFFFF, "retaasppc #-262140"),
    (0x5520023F, "retabsppc #-68"),
    (0xD65F0BE2, "retaasppc x2"),
    (0xD65F0FE3, "retabsppc x3"),
]


def registers(**values: int) -> dict[str, int]:
    """All that a branch may read; by default no two are the same."""
    general = {f"x{number}": 0x1111_0000 + 4 * number for number in range(31)}
    return general | {"sp": 0x2222_0000, "pc": PC, "pstate": 0x5} | values


def case_id(value: object) -> str | None:
    """Name a case by its assembly."""
    return value if isinstance(value, str) else None


# -- what each form is


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-as") is None, reason="no cross assembler")
def test_gnu_as_agrees(tmp_path: Path) -> None:
    """The words of the tables are what their assembly says."""
    tables = (
        GNU_BRANCHES,
        GNU_INDIRECT,
        GNU_OTHERS,
        GNU_EXCLUSIVES,
        GNU_ATOMICS,
        GNU_PLAIN_ACCESSES,
    )
    expected = {str(row[1]): row[0] for table in tables for row in table}
    subprocess.run(
        ["aarch64-linux-gnu-as", "-march=armv8.8-a", "-o", tmp_path / "words.o"],
        input="\n".join(expected) + "\n",
        text=True,
        check=True,
    )
    subprocess.run(
        ["aarch64-linux-gnu-objcopy", "-O", "binary", "-j", ".text", "words.o", "words"],
        cwd=tmp_path,
        check=True,
    )
    text = (tmp_path / "words").read_bytes()
    words = (int.from_bytes(text[at : at + 4], "little") for at in range(0, len(text), 4))
    assert dict(zip(expected, words, strict=True)) == expected


@pytest.mark.parametrize(
    ("word", "assembly", "flow", "distance", "links"), GNU_BRANCHES, ids=case_id
)
def test_direct_branch(word: int, assembly: str, flow: Flow, distance: int, *, links: bool) -> None:
    """A direct branch goes to its target, from end to end of its field, or may go on."""
    instruction = decode(word, PC)
    assert (instruction.flow, instruction.target, instruction.links) == (flow, PC + distance, links)
    assert instruction.register is None
    assert not instruction.needs_registers
    both = {PC + distance, FOLLOWING} if flow is Flow.CONDITIONAL else {PC + distance}
    assert instruction.successors() == both, assembly


@pytest.mark.parametrize(("word", "assembly", "distance"), LLVM_COMPARE_AND_BRANCH, ids=case_id)
def test_compare_and_branch(word: int, assembly: str, distance: int) -> None:
    """So does compare-and-branch of FEAT_CMPBR."""
    instruction = decode(word, PC)
    assert instruction.flow is Flow.CONDITIONAL
    assert instruction.successors() == {PC + distance, FOLLOWING}, assembly
    assert not instruction.links


@pytest.mark.parametrize(
    ("word", "assembly", "register", "links", "authenticated"),
    [*GNU_INDIRECT, *((*row, "x30", False, True) for row in LLVM_RETURNS)],
    ids=case_id,
)
def test_indirect_branch(
    word: int, assembly: str, register: str, *, links: bool, authenticated: bool
) -> None:
    """An indirect branch goes where its register says, which it must be given."""
    instruction = decode(word, PC)
    assert (instruction.flow, instruction.target) == (Flow.INDIRECT, None), assembly
    assert (instruction.register, instruction.links) == (register, links)
    assert instruction.needs_registers
    with pytest.raises(ValueError, match=f"0xffff800008123450 .* {register}"):
        instruction.successors()
    if register == "xzr":
        assert instruction.successors(registers()) == {0}
        return
    assert instruction.successors(registers()) == {registers()[register]}
    signed = {register: 0x12B4_8000_0815_0000}
    stripped = 0xFFFF_8000_0815_0000 if authenticated else signed[register]
    assert instruction.successors(registers(**signed)) == {stripped}


@pytest.mark.parametrize(
    ("pointer", "address"),
    [
        (0x0080_8000_0800_0000, 0xFFFF_8000_0800_0000),  # bit 55 alone says kernel
        (0xFF7F_8000_0800_0000, 0x0000_8000_0800_0000),  # and says user
        (0xFFFF_8000_0800_0000, 0xFFFF_8000_0800_0000),  # nothing to strip
        (0x0000_FFFF_FFFF_FFFC, 0x0000_FFFF_FFFF_FFFC),
    ],
)
def test_authentication_code_is_stripped(pointer: int, address: int) -> None:
    """Bit 55 alone decides what the bits from 48 up become."""
    retaa = decode(0xD65F0BFF, PC)
    assert retaa.successors(registers(x30=pointer)) == {address}


@pytest.mark.parametrize(("word", "assembly", "flow"), GNU_OTHERS, ids=case_id)
def test_no_branch(word: int, assembly: str, flow: Flow) -> None:
    """All else goes on or, at an exception or the return from one, ends the path."""
    instruction = decode(word, PC)
    assert instruction.flow is flow, assembly
    assert (instruction.target, instruction.register, instruction.links) == (None, None, False)
    expected = {FOLLOWING} if flow is Flow.SEQUENTIAL else set()
    assert instruction.successors() == instruction.successors(registers()) == expected


@pytest.mark.parametrize(
    "word",
    [
        0x74852005,  # CB<cc> (register) with bits 23..21 100
        0xF5A02005,  # CB<cc> (immediate) with 101
        0x74056005,  # CB<cc> (register) with bits 15..14 01
        0xF405A005,  # CBB<cc> of 64 bits
        0x75006005,  # CB<cc> (immediate) with bit 14 set
        0x5540001F,  # beside RETAASPPC
        0xD61E0000,  # BR with bits 20..16 not all ones
        0xD6FF03E0,  # beside DRPS
    ],
)
def test_unallocated_in_the_branch_group_is_an_exception(word: int) -> None:
    """Nothing near a branch passes for one, or for sequential."""
    assert decode(word, PC).flow is Flow.EXCEPTION


# -- conditions

CONDITIONS: dict[str, Callable[[int, int, int, int], bool]] = {
    "eq": lambda _n, z, _c, _v: z == 1,
    "ne": lambda _n, z, _c, _v: z == 0,
    "hs": lambda _n, _z, c, _v: c == 1,
    "lo": lambda _n, _z, c, _v: c == 0,
    "mi": lambda n, _z, _c, _v: n == 1,
    "pl": lambda n, _z, _c, _v: n == 0,
    "vs": lambda _n, _z, _c, v: v == 1,
    "vc": lambda _n, _z, _c, v: v == 0,
    "hi": lambda _n, z, c, _v: (c, z) == (1, 0),
    "ls": lambda _n, z, c, _v: (c, z) != (1, 0),
    "ge": lambda n, _z, _c, v: n + v != 1,
    "lt": lambda n, _z, _c, v: n + v == 1,
    "gt": lambda n, z, _c, v: z == 0 and n + v != 1,
    "le": lambda n, z, _c, v: z == 1 or n + v == 1,
    "al": lambda _n, _z, _c, _v: True,
    "nv": lambda _n, _z, _c, _v: True,
}


@pytest.mark.parametrize("consistent", [0, 0x10], ids=["b", "bc"])
@pytest.mark.parametrize("flags", range(16), ids="nzcv={:04b}".format)
@pytest.mark.parametrize("number", range(16), ids=list(CONDITIONS))
def test_condition(number: int, flags: int, consistent: int) -> None:
    """Every condition decides on every NZCV as the manual's table says."""
    n, z, c, v = (flags >> bit & 1 for bit in (3, 2, 1, 0))
    taken = list(CONDITIONS.values())[number](n, z, c, v)
    instruction = decode(0x5400_0100 | consistent | number, PC)  # to .+32
    # The other bits of PSTATE are as in the kernel: SS, PAN, DAIF, EL1h.
    given_flags = registers(pstate=flags << 28 | 0x0060_03C5)
    assert instruction.successors(given_flags) == {PC + 32 if taken else FOLLOWING}


@given(st.integers(0, 255), st.integers(0, 255))
def test_condition_means_what_it_is_called(left: int, right: int) -> None:
    """After a compare (of bytes: flags know no width), as the manual words it."""
    signed = [value - 256 if value > 127 else value for value in (left, right)]
    difference = left - right & 255
    flags = (
        (difference >> 7) << 3
        | (difference == 0) << 2
        | (left >= right) << 1
        | (signed[0] - signed[1] not in range(-128, 128))
    )
    holds = {
        "eq": left == right,
        "ne": left != right,
        "hs": left >= right,
        "lo": left < right,
        "hi": left > right,
        "ls": left <= right,
        "ge": signed[0] >= signed[1],
        "lt": signed[0] < signed[1],
        "gt": signed[0] > signed[1],
        "le": signed[0] <= signed[1],
    }
    for name, taken in holds.items():
        word = 0x5400_0100 | list(CONDITIONS).index(name)
        successors = decode(word, PC).successors(registers(pstate=flags << 28))
        assert successors == {PC + 32 if taken else FOLLOWING}, name


@pytest.mark.parametrize(
    ("word", "assembly", "value", "taken"),
    [
        (0x34000041, "cbz w1, .+8", 0, True),
        (0x34000041, "cbz w1, .+8", 1, False),
        (0x34000041, "cbz w1, .+8", 0xFFFF_FFFF_0000_0000, True),
        (0x34000041, "cbz w1, .+8", 0x8000_0000, False),
        (0xB4000041, "cbz x1, .+8", 0, True),
        (0xB4000041, "cbz x1, .+8", 0x1_0000_0000, False),
        (0x35000041, "cbnz w1, .+8", 0, False),
        (0x35000041, "cbnz w1, .+8", 0x1_0000_0000, False),
        (0x35000041, "cbnz w1, .+8", 0x8000_0000, True),
        (0xB5000041, "cbnz x1, .+8", 1 << 63, True),
        (0xB5000041, "cbnz x1, .+8", 0, False),
        (0x36000041, "tbz w1, #0, .+8", 0xFFFF_FFFF_FFFF_FFFE, True),
        (0x36000041, "tbz w1, #0, .+8", 1, False),
        (0x36F80041, "tbz w1, #31, .+8", 1 << 31, False),
        (0x36F80041, "tbz w1, #31, .+8", 1 << 63, True),
        (0xB6000041, "tbz x1, #32, .+8", 1 << 32, False),
        (0xB6000041, "tbz x1, #32, .+8", 1, True),
        (0xB6F80041, "tbz x1, #63, .+8", 1 << 63, False),
        (0xB6F80041, "tbz x1, #63, .+8", 1 << 31, True),
        (0xB7400041, "tbnz x1, #40, .+8", 1 << 40, True),
        (0xB7400041, "tbnz x1, #40, .+8", ~(1 << 40) % (1 << 64), False),
    ],
    ids=case_id,
)
def test_zero_and_bit(word: int, assembly: str, value: int, *, taken: bool) -> None:
    """CBZ and TBZ look at the bits that they name and at no others."""
    successors = decode(word, PC).successors(registers(x1=value))
    assert successors == {PC + 8 if taken else FOLLOWING}, assembly


@pytest.mark.parametrize(
    ("word", "assembly", "taken"),
    [
        (0xB400005F, "cbz xzr, .+8", True),
        (0x3500005F, "cbnz wzr, .+8", False),
        (0xB640005F, "tbz xzr, #40, .+8", True),
        (0xB740005F, "tbnz xzr, #40, .+8", False),
        (0xF4DF005F, "cbeq xzr, xzr, .+8", True),
        (0x7505005F, "cbgt wzr, #10, .+8", False),
        (0x7525005F, "cblt wzr, #10, .+8", True),
    ],
    ids=case_id,
)
def test_register_31_is_zero(word: int, assembly: str, *, taken: bool) -> None:
    """Register 31 is zero, never the stack pointer."""
    successors = decode(word, PC).successors(registers(sp=~0))
    assert successors == {PC + 8 if taken else FOLLOWING}, assembly


def compared(value: int, size: int, *, signed: bool) -> int:
    """Return the low ``size`` bytes of a register."""
    return int.from_bytes(value.to_bytes(8, "little")[:size], "little", signed=signed)


RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "hi": lambda left, right: left > right,
    "hs": lambda left, right: left >= right,
    "lo": lambda left, right: left < right,
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
}
REGISTER_FIELDS = {"gt": 0, "ge": 1, "hi": 2, "hs": 3, "eq": 6, "ne": 7}
IMMEDIATE_FIELDS = {"gt": 0, "lt": 1, "hi": 2, "lo": 3, "eq": 6, "ne": 7}
WIDTHS = {1: 0x7406_8105, 2: 0x7406_C105, 4: 0x7406_0105, 8: 0xF406_0105}  # x5 with x6, to .+32

# Small, close to where a sign bit is, and the same in the low bytes only.
VALUES = st.builds(
    lambda high, low: (high << 32 | low) % (1 << 64),
    st.sampled_from([0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF]),
    st.builds(
        lambda base, offset: (base + offset) % (1 << 32),
        st.sampled_from([0, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000]),
        st.integers(-65, 65),
    ),
)


@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("condition", REGISTER_FIELDS)
@given(left=VALUES, right=VALUES)
def test_registers_compare(condition: str, size: int, left: int, right: int) -> None:
    """CB<cc>, CBB<cc> and CBH<cc> compare as many bytes as they name."""
    signed = condition in {"gt", "ge"}
    taken = RELATIONS[condition](
        compared(left, size, signed=signed), compared(right, size, signed=signed)
    )
    instruction = decode(WIDTHS[size] | REGISTER_FIELDS[condition] << 21, PC)
    successors = instruction.successors(registers(x5=left, x6=right))
    assert successors == {PC + 32 if taken else FOLLOWING}


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("condition", IMMEDIATE_FIELDS)
@given(left=VALUES, right=st.integers(0, 63))
def test_register_compares_with_immediate(condition: str, size: int, left: int, right: int) -> None:
    """CB<cc> (immediate) compares with an unsigned number, signed or not."""
    taken = RELATIONS[condition](compared(left, size, signed=condition in {"gt", "lt"}), right)
    word = 0x7500_0105 | (size == 8) << 31 | IMMEDIATE_FIELDS[condition] << 21 | right << 15
    successors = decode(word, PC).successors(registers(x5=left))
    assert successors == {PC + 32 if taken else FOLLOWING}


def test_a_register_that_is_missing_is_named() -> None:
    """Registers that lack the one that counts are no ground for a guess."""
    with pytest.raises(KeyError, match="x17"):
        decode(0xD63F0220, PC).successors({"x0": 0})


# -- exclusives


@pytest.mark.parametrize(
    ("word", "assembly"),
    [
        *GNU_EXCLUSIVES,
        # FEAT_LSUI: words from LLVM's MC/AArch64/armv9.6a-lsui.s
        (0xC95F7D6A, "ldtxr x10, [x11]"),
        (0xC95FFD6A, "ldatxr x10, [x11]"),
        (0x891F7FE4, "sttxr wzr, w4, [sp]"),
        (0xC905FCE6, "stltxr w5, x6, [x7]"),
        (0xC9807C41, "cast x0, x1, [x2]"),
        (0x49C0FC82, "caspalt x0, x1, x2, x3, [x4]"),
    ],
    ids=case_id,
)
def test_exclusive(word: int, assembly: str) -> None:
    """Exclusives are told from CAS, LSE atomics and ordered accesses."""
    mnemonic = assembly.split(maxsplit=1)[0]
    loads = re.fullmatch(r"lda?t?x[rp][bh]?", mnemonic) is not None
    stores = re.fullmatch(r"stl?t?x[rp][bh]?", mnemonic) is not None
    assert (is_load_exclusive(word), is_store_exclusive(word)) == (loads, stores)
    assert decode(word, PC).flow is Flow.SEQUENTIAL


@pytest.mark.parametrize(
    ("word", "assembly"), [*GNU_ATOMICS, *GNU_EXCLUSIVES, *GNU_PLAIN_ACCESSES], ids=case_id
)
def test_atomic(word: int, assembly: str) -> None:
    """One instruction that reads and writes is told from all other accesses."""
    mnemonic = assembly.split(maxsplit=1)[0]
    atomic = re.match(r"cas|swp|(ld|st)(add|clr|eor|set|[su](max|min))", mnemonic) is not None
    assert is_atomic(word) is atomic


# -- any word

ANY_WORD = st.integers(0, 2**32 - 1)
# All that matters is in the branch group, one word in eight; and in that, the branches by
# register would hardly ever come up by chance.
BRANCH_GROUP = ANY_WORD.map(lambda word: word & ~(7 << 26) | 5 << 26)
BY_REGISTER = st.builds(
    lambda opcode, fixed, low: 0xD61F_0000 | opcode << 21 | fixed << 10 | low,
    st.integers(0, 15),
    st.sampled_from([0, 2, 3]),
    st.integers(0, 1023) | st.sampled_from([0x3E0, 0x3FF]),
)
WORDS = ANY_WORD | BRANCH_GROUP | BY_REGISTER
BRANCHES = {Flow.BRANCH, Flow.CONDITIONAL, Flow.INDIRECT}
ADDRESSES = st.integers(0, 2**62 - 1).map(lambda number: 4 * number)


@pytest.mark.parametrize(
    ("word", "assembly", "masks"),
    [
        (0xD5034FDF, "msr daifset, #15", True),
        (0xD50348DF, "msr daifset, #8", True),
        (0xD50342DF, "msr daifset, #2", False),
        (0xD5034FFF, "msr daifclr, #15", False),
        (0xD51B4220, "msr daif, x0", True),
        (0xD51B4221, "msr daif, x1", False),
        (0xD51B423F, "msr daif, xzr", False),
        (0xD53B4220, "mrs x0, daif", False),
    ],
)
def test_masking_of_debug_exceptions(word: int, assembly: str, *, masks: bool) -> None:
    values = registers(x0=0x3C0, x1=0xC0)
    assert masks_debug(word, lambda: values) == masks, assembly


@pytest.fixture(scope="module")
def disassembler() -> capstone.Cs:
    """Return capstone, with details."""
    disassembler = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    disassembler.detail = True
    return disassembler


@given(word=WORDS)
@example(0x14000000)
@example(0xD4000002)
def test_capstone_agrees(disassembler: capstone.Cs, word: int) -> None:
    """What capstone calls a branch is one, with the same target, and nothing else is."""
    instruction = decode(word, PC)
    second = next(disassembler.disasm(word.to_bytes(4, "little"), PC), None)
    if second is None:  # not allocated, or too new for it: CB<cc>, RETAASPPC
        return
    is_branch = second.mnemonic.startswith("bc.") or any(  # it has no group for BC.cond
        second.group(group)
        for group in (
            capstone.CS_GRP_JUMP,
            capstone.CS_GRP_CALL,
            capstone.CS_GRP_RET,
            capstone.CS_GRP_BRANCH_RELATIVE,
        )
    )
    assert (instruction.flow in BRANCHES) == is_branch
    assert instruction.links == second.mnemonic.startswith("bl")
    if instruction.target is not None:
        immediates = [part.imm for part in second.operands if part.type == arm64.ARM64_OP_IMM]
        assert instruction.target == immediates[-1] % (1 << 64)
    if instruction.register is not None:
        named = second.op_str.split(",")[0] or "x30"
        assert instruction.register == named
    if not is_branch:
        returns = second.mnemonic in {"eret", "eretaa", "eretab", "drps"}
        assert (instruction.flow is Flow.EXCEPTION_RETURN) == returns


@given(word=WORDS, pc=ADDRESSES)
def test_successors_are_aligned_and_within_64_bits(word: int, pc: int) -> None:
    """No word leads to an address that no instruction can have."""
    values = registers()
    for successor in decode(word, pc).successors(values):
        assert successor % 4 == 0
        assert 0 <= successor < 1 << 64


@given(word=WORDS, pc=ADDRESSES, pstate=st.integers(0, 15).map(lambda flags: flags << 28))
def test_registers_only_narrow(word: int, pc: int, pstate: int) -> None:
    """With registers there is one way at most, of those that there were without."""
    instruction = decode(word, pc)
    exact = instruction.successors(registers(pstate=pstate))
    assert len(exact) <= 1
    if not instruction.needs_registers:
        assert exact <= instruction.successors()


@given(word=WORDS, pc=ADDRESSES, values=st.lists(ADDRESSES, min_size=31, max_size=31))
@example(word=0x54000020, pc=PC, values=[PC] * 31)  # b.eq
@example(word=0x37003805, pc=PC, values=[1] * 31)  # tbnz w5, #0
@example(word=0xB400001F, pc=PC, values=[0] * 31)  # cbz xzr
def test_the_registers_it_reads_are_enough(word: int, pc: int, values: list[int]) -> None:
    """The others make no difference, and need not be read."""
    instruction = decode(word, pc)
    known = {f"x{n}": value for n, value in enumerate(values)} | {"pstate": values[0] << 28}
    read = {name: known[name] for name in instruction.reads}
    assert instruction.successors(read) == instruction.successors(known)
    assert len(read) <= 2


def test_addresses_wrap_at_64_bits() -> None:
    """The ends of the address space meet."""
    last = 0xFFFF_FFFF_FFFF_FFFC
    assert decode(0xD503201F, last).successors() == {0}  # nop
    assert decode(0x14000002, last).successors() == {4}  # b .+8
    assert decode(0x17FFFFFF, 0).successors() == {last}  # b .-4
    assert decode(0xB5FFFFE1, 0).successors() == {last, 4}  # cbnz x1, .-4
