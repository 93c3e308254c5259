# SPDX-License-Identifier: GPL-2.0-only
"""Which registers an instruction uses, compared with an emulator."""

from __future__ import annotations

import capstone
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kstep.arm64 import operands
from kstep.arm64.emulator import NZCV, Emulator
from kstep.arm64.operands import _FORMS, FLAGS, _Form
from tests.unit.arm64.test_emulator import registers, zeros

DISASSEMBLER = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
ALL = 0xFFFF_FFFF
# The system group, of which an emulator elsewhere computes nothing, and branches, which it leaves.
COMPUTED = [form for form in _FORMS if form.value >> 25 & 0xE != 0xA]
# Bits that a form leaves open, and that have one value in most of what is an instruction at all:
# those that are one, those that are zero. Without, one word of two thousand may be one.
USUAL = {
    0x08400000: (0x001F7C00, 0),  # load-acquire and load-exclusive have no Rs and no Rt2
    0x08800000: (0x001F7C00, 0),
    0x0B200000: (0, 0x00C01000),  # of an extended register, shifted by up to 4
    0x13800000: (0, 0x60200000),
    0x1A400000: (0x20000000, 0x00000410),  # conditional comparisons set flags, always
    0x1A400800: (0x20000000, 0x00000410),
    0x1A800000: (0, 0x20000800),
    0x1AC00000: (0, 0x2000C000),
    0x1B000000: (0, 0x60400000),
    0x5AC00000: (0, 0x201FE000),  # rbit, rev and those around
}


def word_of(form: _Form, bits: int) -> int:
    """Make an instruction of a form out of any bits."""
    ones, zeros_ = USUAL.get(form.value, (0, 0))
    return (bits | ones) & ~zeros_ & ~form.mask & ALL | form.value


def named(number: int) -> str:
    """Name a register as kdb does."""
    return "pstate" if number == FLAGS else "sp" if number == 31 else f"x{number}"


def result(word: int, before: dict[str, int]) -> dict[str, int | None]:
    """Compute what it makes of the registers, as far as that is known."""
    after = dict(Emulator(zeros).predict(word, before).registers)
    flags = after["pstate"]
    return after | {"pstate": None if flags is None else flags & NZCV}


@pytest.mark.parametrize("form", COMPUTED, ids=lambda form: f"{form.value:08x}")
@settings(max_examples=60, suppress_health_check=[HealthCheck.filter_too_much])
@given(bits=st.integers(0, ALL), field=st.sampled_from([0, 5, 10, 16, 32]))
def test_what_is_not_named_is_neither_read_nor_written(form: _Form, bits: int, field: int) -> None:
    """Another value in a register that is not read changes nothing but that register."""
    word = word_of(form, bits)
    other = FLAGS if field == 32 else word >> field & 31
    assume(next(iter(DISASSEMBLER.disasm(word.to_bytes(4, "little"), 0)), None) is not None)
    use = operands.uses(word)
    assert use is not None
    before = registers()
    after = result(word, before)
    assume(None not in (after["pc"], after["pstate"]))
    before["pstate"] &= NZCV
    changed = {name for name, value in after.items() if value not in (None, before[name])}
    assert changed - {"pc"} <= {named(number) for number in use.writes}
    if other in use.reads or other == 31:
        return
    flipped = registers() | {
        named(other): registers()[named(other)] ^ (NZCV if other == FLAGS else 0x5A5A_5A40)
    }
    again = result(word, flipped)
    differs = {name for name in after if after[name] != again[name]}
    assert differs <= {named(other)}


@settings(max_examples=600)
@given(word=st.integers(0, 0xFFFF_FFFF))
def test_what_stores_is_known(word: int) -> None:
    decoded = next(iter(DISASSEMBLER.disasm(word.to_bytes(4, "little"), 0)), None)
    assume(decoded is not None)
    assert decoded is not None
    use = operands.uses(word)
    if decoded.mnemonic.startswith(("cas", "swp", "ldadd", "ldset", "stx", "stlx", "dc", "svc")):
        assert use is None, (decoded.mnemonic, decoded.op_str)
    if use is not None:
        stores = decoded.mnemonic.startswith("st")
        assert stores == (use.access is not None and use.access.store), decoded.mnemonic


@pytest.mark.parametrize(
    ("word", "reads", "writes"),
    [
        (0xB9400062, {3}, {2}),  # ldr w2, [x3]
        (0xF8408C41, {2}, {1, 2}),  # ldr x1, [x2, #8]!
        (0xA9400C62, {3}, {2, 3}),  # ldp x2, x3, [x3]
        (0x88DFFC62, {3}, {2}),  # ldar w2, [x3]
        (0x885F7C62, {3}, {2}),  # ldxr w2, [x3]
        (0xB8BFC10A, {8}, {10}),  # ldapr w10, [x8]
        (0xD95F8041, {2}, {1}),  # ldapur x1, [x2, #-8]
        (0x99808041, {2}, {1}),  # ldapursw x1, [x2, #8]
        (0x99004083, {3, 4}, set()),  # stlur w3, [x4, #4]
        (0xD503245F, set(), set()),  # bti c
        (0xD503229F, set(), set()),  # csdb
        (0xD503233F, {30, 31}, {30}),  # paciasp
        (0xD50323BF, {30, 31}, {30}),  # autiasp
        (0xD65F0BFF, {30, 31}, set()),  # retaa
        (0x6B02003F, {1, 2}, {FLAGS}),  # cmp w1, w2
        (0xB3401020, {0, 1}, {0}),  # bfxil x0, x1, #0, #5
        (0xF2800020, {0}, {0}),  # movk x0, #1
        (0x54FFFF81, {FLAGS}, set()),  # b.ne
        (0x37000002, {2}, set()),  # tbnz w2, #0
        (0x1A9F17E0, {31, FLAGS}, {0}),  # cset w0, eq
        (0x9AC12000, {0, 1}, {0}),  # lsl x0, x0, x1
        (0x910043FF, {31}, {31}),  # add sp, sp, #16
        (0xF94003E0, {31}, {0}),  # ldr x0, [sp]
        (0xD63F0020, {1}, {30}),  # blr x1
        (0xD5033BBF, set(), set()),  # dmb ish
        (0xD503203F, set(), set()),  # yield
        (0xD503205F, set(), set()),  # wfe
        (0xD53BE040, set(), {0}),  # mrs x0, cntvct_el0
    ],
)
def test_instructions_of_every_group(word: int, reads: set[int], writes: set[int]) -> None:
    use = operands.uses(word)
    assert use is not None
    assert (set(use.reads), set(use.writes)) == (reads, writes)
    assert use.clock == (word == 0xD53BE040)


@pytest.mark.parametrize(
    "word",
    [
        0x88027C20,
        0xB8200041,
        0x88E07C41,
        0x3DC00020,
        0xD50B7420,
        0xD4000001,
    ],
    ids=["stxr", "ldadd", "casa", "ldr of a vector", "dc zva", "svc"],
)
def test_what_may_do_more_is_none(word: int) -> None:
    assert operands.uses(word) is None
