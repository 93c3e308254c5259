# SPDX-License-Identifier: GPL-2.0-only
"""Registers and memory after one arm64 instruction, computed by an emulator.

Unicorn runs it twice, on memory of zeros and on memory of ones: results that differ come from
memory, whose content is unknown. The stack is known from the stack pointer up; interrupts and
the debugger use the part below. Other loads are not judged, because a tick or the debugger may
change the memory: kgdb changes the task's preempt_count, for one, while it holds the CPU.

Stores are computed the same way. They are compared only in RAM, because reading a device can
change it, and not in the task's own structure, where the debugger counts.

Unicorn computes no system instructions: their effect depends on the machine. The few of them
that write what kdb shows are listed here. Encodings are from the Arm ARM (DDI 0487), C5.
(Capstone is not used: regs_access() of its release 5 omits, for one, what the atomics of LSE
load; see tests/unit/arm64/test_emulator.py.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import unicorn
from unicorn import arm64_const as arm64

from kstep.arm64 import daif
from kstep.arm64.branch import Registers, decode
from kstep.base.errors import MachineryError

Predicted = Mapping[str, int | None]
"""The registers after an instruction; None for an unknown value."""
Stored = Mapping[int, int]
"""The bytes that an instruction leaves in memory, by address."""
Read = Callable[[int, int], bytes]
"""Reads the guest's memory: address, size in bytes."""
PAGE: Final = 4096
STACK: Final = 4 * PAGE  # THREAD_SIZE in asm/memory.h, and aligned to it
ZEROS, ONES = b"\x00", b"\xff"
NZCV = 0xF << 28
_GENERAL = {f"x{n}": getattr(arm64, f"UC_ARM64_REG_X{n}") for n in range(31)}
_ALL = _GENERAL | {"sp": arm64.UC_ARM64_REG_SP, "pc": arm64.UC_ARM64_REG_PC}
_VECTORS = [getattr(arm64, f"UC_ARM64_REG_Q{n}") for n in range(32)]
# MSR to a field of PSTATE from a register, without the register; the bits that it sets, which
# have the same positions in the register as in SPSR_EL1.
_MSR_REGISTER = {
    0xD51B_4200: NZCV,
    daif.MSR & ~31: daif.BITS,
    0xD518_4260: 1 << 22,  # PAN
    0xD518_4280: 1 << 23,  # UAO
    0xD51B_42A0: 1 << 24,  # DIT
    0xD51B_42C0: 1 << 12,  # SSBS
    0xD51B_42E0: 1 << 25,  # TCO
}
# MSR to a field of PSTATE from an immediate, without the immediate; the bits that it sets.
_MSR_IMMEDIATE = {
    0xD500_407F: 1 << 23,  # UAO
    0xD500_409F: 1 << 22,  # PAN
    0xD500_40BF: 1 << 0,  # SPSel
    0xD503_403F: 1 << 12,  # SSBS
    0xD503_405F: 1 << 24,  # DIT
    0xD503_409F: 1 << 25,  # TCO
}
_FLAG_FORMATS = (0xD500_401F, 0xD500_403F, 0xD500_405F)  # CFINV, XAFLAG, AXFLAG
_MRS_NZCV = 0xD53B_4200
_HINT = 0xD503_201F
# Hints that sign, authenticate or strip a pointer, by number: XPACLRI, and those for x30 with
# SP or zero; those for x17 with x16. On a CPU without FEAT_PAuth they do nothing.
_SIGNS_LINK = frozenset({7, *range(24, 32)})
_SIGNS_X17 = frozenset(range(8, 16))


class Effect(NamedTuple):
    """The registers after an instruction, and what it stores as far as that is known."""

    registers: Predicted
    stored: Stored


class Emulator:
    """An emulated arm64 CPU; ``read`` reads the stack of the CPU under test."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._pages: dict[int, bytes] = {}
        self._fill = ZEROS
        self._sp = 0
        self._failure: MachineryError | None = None
        self._machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self._machine.ctl_set_cpu_model(arm64.UC_CPU_ARM64_MAX)
        self._machine.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, self._provide)
        self._stored: dict[int, int] = {}
        self._machine.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._note)

    def predict(self, word: int, registers: Registers) -> Effect:
        """Return the registers after the instruction ``word``, and what it stores.

        Bits of ``pstate`` that the instruction does not write are unchanged.
        """
        if word >> 24 == 0xD5:  # noqa: PLR2004 -- the group "System instructions"
            return Effect(_system(word, registers), {})
        if word >> 24 == 0xD4:  # noqa: PLR2004 -- HVC and SMC, whose x0 to x17 are lost (SMCCC)
            lost = {f"x{n}": None for n in range(18)}
            return Effect({**registers, **lost, "pc": registers["pc"] + 4}, {})
        self._pages.clear()
        try:
            zeros, ones = (self._run(word, registers, fill) for fill in (ZEROS, ONES))
        except unicorn.UcError:
            if self._failure is not None:
                raise self._failure from None
            return Effect(dict.fromkeys(registers), {})
        stored = zeros.stored if zeros.stored == ones.stored else {}
        predicted = {
            name: value if value == ones.registers[name] else None
            for name, value in zeros.registers.items()
        }
        if decode(word, registers["pc"]).form.authenticated:
            predicted["pc"] = None
        if word & 0xFFFF_0000 == 0xDAC1_0000:  # noqa: PLR2004 -- PACIA etc. depend on a key
            predicted |= _unknown(word & 31)
        return Effect(predicted, stored)

    def _run(self, word: int, registers: Registers, fill: bytes) -> Effect:
        machine, pc = self._machine, registers["pc"]
        self._fill, self._sp = fill, registers["sp"]
        for begin, end, _ in list(machine.mem_regions()):
            machine.mem_unmap(begin, end - begin + 1)
        machine.mem_map(pc & -PAGE, PAGE)
        machine.mem_write(pc & -PAGE, fill * PAGE)
        machine.mem_write(pc, word.to_bytes(4, "little"))
        machine.ctl_remove_cache(pc, pc + 4)
        for name, number in _ALL.items():
            machine.reg_write(number, registers[name])
        machine.reg_write(arm64.UC_ARM64_REG_NZCV, registers["pstate"] & NZCV)
        for number in _VECTORS:
            machine.reg_write(number, int.from_bytes(fill * 16, "little"))
        self._stored = {}
        machine.emu_start(pc, 0, count=1)
        flags = machine.reg_read(arm64.UC_ARM64_REG_NZCV) & NZCV
        after = {name: machine.reg_read(number) for name, number in _ALL.items()}
        return Effect({**after, "pstate": registers["pstate"] & ~NZCV | flags}, self._stored)

    def _note(
        self, _machine: unicorn.Uc, _kind: int, address: int, size: int, value: int, _data: object
    ) -> None:
        content = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        self._stored.update(enumerate(content, address))

    def _provide(
        self, machine: unicorn.Uc, _kind: int, address: int, _size: int, _value: int, _data: object
    ) -> bool:
        page = address & -PAGE
        machine.mem_map(page, PAGE)
        try:
            machine.mem_write(page, self._content(page))
        except MachineryError as error:  # unicorn would lose it
            self._failure = error
            return False
        return True

    def _content(self, page: int) -> bytes:
        if not self._sp & -PAGE <= page <= self._sp | STACK - 1:
            return self._fill * PAGE
        if page not in self._pages:
            self._pages[page] = self._read(page, PAGE)
        below = max(0, self._sp - page)
        return self._fill * below + self._pages[page][below:]


def _system(word: int, registers: Registers) -> Predicted:
    """Predict a system instruction: it continues at PC+4, and few of them write what kdb shows."""
    predicted: dict[str, int | None] = {**registers, "pc": registers["pc"] + 4}
    pstate, target = registers["pstate"], word & 31
    source = 0 if target == 31 else registers[f"x{target}"]  # noqa: PLR2004 -- XZR
    immediate = word >> 8 & 15
    if mask := _MSR_REGISTER.get(word & ~31):
        predicted["pstate"] = pstate & ~mask | source & mask
    elif mask := _MSR_IMMEDIATE.get(word & ~0xF00):
        predicted["pstate"] = pstate | mask if immediate & 1 else pstate & ~mask
    elif word & daif.IMMEDIATE == daif.SET:
        predicted["pstate"] = pstate | immediate << daif.LOWEST
    elif word & daif.IMMEDIATE == daif.CLEAR:
        predicted["pstate"] = pstate & ~(immediate << daif.LOWEST)
    elif word & ~0xF00 in _FLAG_FORMATS:
        predicted["pstate"] = None
    elif word & ~31 == _MRS_NZCV:
        predicted |= dict.fromkeys(_unknown(target), pstate & NZCV)
    elif word & ~0xFE0 == _HINT:
        number = word >> 5 & 127
        predicted |= {"x30": None} if number in _SIGNS_LINK else {}
        predicted |= {"x17": None} if number in _SIGNS_X17 else {}
    elif word >> 21 & 1:  # MRS, SYSL
        predicted |= _unknown(target)
    return predicted


def _unknown(number: int) -> dict[str, None]:
    return {} if number == 31 else {f"x{number}": None}  # noqa: PLR2004 -- XZR
