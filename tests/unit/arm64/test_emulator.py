# SPDX-License-Identifier: GPL-2.0-only
"""What an instruction makes of the registers, against capstone and against the oracle."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import capstone
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kstep.arm64.branch import Flow, decode
from kstep.arm64.emulator import PAGE, Emulator
from kstep.base.errors import MachineryError

if TYPE_CHECKING:
    import random

PC = 0xFFFF_8000_0812_3450
SP = 0xFFFF_0000_00A0_3E40
ALIASES = {"fp": "x29", "lr": "x30", "wsp": "sp", "nzcv": "pstate"}


def zeros(_address: int, size: int) -> bytes:
    return bytes(size)


def registers(**values: int) -> dict[str, int]:
    """Make registers that differ from each other, but for those given."""
    return {f"x{n}": 0x1111 * (n + 1) for n in range(31)} | {
        "sp": SP,
        "pc": PC,
        "pstate": 0x6000_0005,
        **values,
    }


def changes(word: int, before: dict[str, int], emulator: Emulator | None = None) -> object:
    """Tell what the instruction changes, the PC apart where that goes to the next."""
    after = (emulator or Emulator(zeros)).predict(word, before).registers
    assert after.keys() == before.keys()
    found = {name: value for name, value in after.items() if value != before[name]}
    if found.get("pc") == before["pc"] + 4:
        del found["pc"]
    return found


@pytest.mark.parametrize(
    ("word", "assembly", "changed"),
    [
        (0x91001020, "add x0, x1, #4", {"x0": 0x2226}),
        (0x2A0103E0, "mov w0, w1", {"x0": 0x2222}),
        (0xF100003F, "cmp x1, #0", {"pstate": 0x2000_0005}),
        (0x9A9F17E0, "cset x0, eq", {"x0": 1}),
        (0xD10083FF, "sub sp, sp, #32", {"sp": SP - 32}),
        (0xA9BF7BFD, "stp x29, x30, [sp, #-16]!", {"sp": SP - 16}),
        (0x94000004, "bl .+16", {"x30": PC + 4, "pc": PC + 16}),
        (0xD63F0000, "blr x0", {"x30": PC + 4, "pc": 0x1111}),
        # memory that nobody knows: what it gives is unknown, what is written back is not
        (0xF9400020, "ldr x0, [x1]", {"x0": None}),
        (0xF8408420, "ldr x0, [x1], #8", {"x0": None, "x1": 0x222A}),
        (0x885F7C20, "ldxr w0, [x1]", {"x0": None}),
        (0xC8007C41, "stxr w0, x1, [x2]", {"x0": 1}),  # a step has cleared the monitor
        (0xB8200041, "ldadd w0, w1, [x2]", {"x1": None}),
        (0xC8A07C41, "cas x0, x1, [x2]", {"x0": None}),
        (0xF9800020, "prfm pldl1keep, [x1]", {}),
        (0x1E260000, "fmov w0, s0", {"x0": None}),
        # system instructions
        (0xD5384100, "mrs x0, sp_el0", {"x0": None}),
        (0xD53B4200, "mrs x0, nzcv", {"x0": 0x6000_0000}),
        (0xD53B421F, "mrs xzr, nzcv", {}),
        (0xD51B4200, "msr nzcv, x0", {"pstate": 0x0000_0005}),
        (0xD51B4220, "msr daif, x0", {"pstate": 0x6000_0105}),  # x0 = 0x1111: A
        (0xD50342DF, "msr daifset, #2", {"pstate": 0x6000_0085}),
        (0xD50342FF, "msr daifclr, #2", {}),  # I is clear
        (0xD500419F, "msr pan, #1", {"pstate": 0x6040_0005}),
        (0xD500417F, "msr uao, #1", {"pstate": 0x6080_0005}),
        (0xD503413F, "msr ssbs, #1", {"pstate": 0x6000_1005}),
        (0xD503419F, "msr tco, #1", {"pstate": 0x6200_0005}),
        (0xD5184100, "msr sp_el0, x0", {}),
        (0xD5033FDF, "isb", {}),
        (0xD503207F, "wfi", {}),
        (0xD50B7420, "dc zva, x0", {}),
        (0xD503233F, "paciasp", {"x30": None}),
        (0xDAC10041, "pacia x1, x2", {"x1": None}),
    ],
)
def test_what_an_instruction_changes(word: int, assembly: str, changed: object) -> None:
    before = registers(x2=0x2000) if "x2" in assembly else registers(x1=0x2222)
    if "x1]" in assembly:
        before = registers(x1=0x2220)
        changed = {**cast("dict[str, int]", changed)}
        if "x1" in changed:
            changed["x1"] = 0x2228
    assert changes(word, before) == changed, assembly


def test_a_call_of_the_firmware_loses_what_the_convention_gives_it() -> None:
    assert changes(0xD4000002, registers()) == {f"x{n}": None for n in range(18)}


def test_the_stack_is_known_from_the_stack_pointer_up() -> None:
    page = b"".join(n.to_bytes(8, "little") for n in range(PAGE // 8))
    emulator = Emulator(lambda _address, _size: page)
    index = SP % PAGE // 8
    assert changes(0xF94003E0, registers(), emulator) == {"x0": index}  # ldr x0, [sp]
    assert changes(0xF85F83E0, registers(), emulator) == {"x0": None}  # ldur x0, [sp, #-8]
    assert changes(0xA8C17BFD, registers(), emulator) == {  # ldp x29, x30, [sp], #16
        "x29": index,
        "x30": index + 1,
        "sp": SP + 16,
    }
    beyond = registers(x1=(SP | 0x3FFF) + 1)
    assert changes(0xF9400020, beyond, emulator) == {"x0": None}  # ldr x0, [x1]


def test_a_read_that_fails_is_an_error_of_ours() -> None:
    def fail(_address: int, _size: int) -> bytes:
        raise MachineryError("QEMU ended")

    with pytest.raises(MachineryError, match="QEMU ended"):
        changes(0xF94003E0, registers(), Emulator(fail))


def test_each_instruction_has_its_own_memory() -> None:
    content = [bytes(PAGE)]
    emulator = Emulator(lambda _address, _size: content[0])
    assert changes(0xF94003E0, registers(), emulator) == {"x0": 0}
    content[0] = b"\1" * PAGE
    assert changes(0xF94003E0, registers(), emulator) == {"x0": 0x0101_0101_0101_0101}


RAM = 0xFFFF_0000_0123_4560
OWN = 0xFFFF_0000_00A1_1800
COUNTED = b"".join(bytes([n]) for n in range(1, 17))


@pytest.mark.parametrize(
    ("word", "assembly", "at", "content"),
    [
        (0xF9000420, "str x0, [x1, #8]", RAM + 8, COUNTED[:8]),
        (0xB9000020, "str w0, [x1]", RAM, COUNTED[:4]),
        (0x39000020, "strb w0, [x1]", RAM, COUNTED[:1]),
        (0xF8010C20, "str x0, [x1, #16]!", RAM + 16, COUNTED[:8]),
        (0xA9000820, "stp x0, x2, [x1]", RAM, COUNTED),
        (0xF90003E0, "str x0, [sp]", SP, COUNTED[:8]),
        (0xF900003F, "str xzr, [x1]", RAM, bytes(8)),
        # what depends on memory that nobody knows, or on a vector
        (0xF8200020, "ldadd x0, x0, [x1]", RAM, b""),
        (0xC8A07C22, "cas x0, x2, [x1]", RAM, b""),
        (0x3D800020, "str q0, [x1]", RAM, b""),
        # what the monitor that every step clears does not let through
        (0xC8037C20, "stxr w3, x0, [x1]", RAM, b""),
        (0xF9400020, "ldr x0, [x1]", RAM, b""),
    ],
)
def test_what_is_stored(word: int, assembly: str, at: int, content: bytes) -> None:
    before = registers(
        x0=int.from_bytes(COUNTED[:8], "little"), x1=RAM, x2=int.from_bytes(COUNTED[8:], "little")
    )
    assert Emulator(zeros).predict(word, before).stored == dict(enumerate(content, at)), assembly


EMULATOR = Emulator(zeros)
DISASSEMBLER = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN)
DISASSEMBLER.detail = True
# What regs_access() of capstone 5 leaves out: what the atomics of LSE, LDRAA and LDRAB load,
# the result of ADDS (immediate) of 32 bits, and the flags that RMIF and SETF8 write.
SILENT = re.compile(r"ld(add|clr|eor|set|[su](max|min)|ra[ab])|swp|cas|adds|rmif|setf")


# Words of the groups that are emulated: the ones that bits 28..25 name.
WORDS = st.builds(
    lambda group, rest: group << 25 | rest & ~(15 << 25),
    st.sampled_from([0b1000, 0b1001, 0b0101, 0b1101, 0b1010, 0b0100, 0b0110, 0b1100, 0b1110]),
    st.integers(0, (1 << 32) - 1),
)


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # many are not allocated
@given(WORDS, st.randoms(use_true_random=False))
def test_capstone_and_the_oracle_agree(word: int, chance: random.Random) -> None:
    before = {f"x{n}": chance.getrandbits(60) << 4 for n in range(31)}
    before |= {"sp": SP, "pc": PC, "pstate": 5 | chance.getrandbits(4) << 28}
    instruction = decode(word, PC)
    assume(instruction.flow not in (Flow.EXCEPTION, Flow.EXCEPTION_RETURN))
    assume(word >> 24 not in (0xD4, 0xD5))
    found = list(DISASSEMBLER.disasm(word.to_bytes(4, "little"), PC))
    assume(found and not SILENT.match(found[0].mnemonic))
    names = {DISASSEMBLER.reg_name(number) for number in found[0].regs_access()[1]}
    written = {re.sub(r"^w(?=\d)", "x", ALIASES.get(name, name)) for name in names}
    predicted = EMULATOR.predict(word, before).registers
    assume(set(predicted.values()) != {None})
    changed = {name for name, value in predicted.items() if value != before[name]} - {"pc"}
    assert changed <= written
    assert predicted["pc"] is None or predicted["pc"] in instruction.successors(before)
