# SPDX-License-Identifier: GPL-2.0-only
"""What one instruction makes of the registers, worked out by an emulator.

Unicorn runs it on a machine of its own, twice, on memory of zeros and on memory of ones:
where the results differ, they come from memory, which nobody knew. The stack is known from
the stack pointer up: interrupts and the debugger work below. What else is loaded is not
judged, since a tick may change it, as the debugger does: while it holds the CPU it counts
in the task's own preempt_count, for one.

What it stores is told in the same way. Memory is looked at where it is RAM: a
device is changed by being read. And not in the task's own structure, where the debugger counts.

Of system instructions unicorn computes nothing: their meaning is that of the machine they run
on. Those that write what kdb shows are few enough to be listed here. Encodings are those of
the Arm ARM (DDI 0487), C5. (Capstone is not asked: regs_access() of its release 5 leaves
out what the atomics of LSE load, for one; see tests/unit/test_effect.py.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import unicorn
from unicorn import arm64_const as arm64

from kstep.arm64.branch import decode
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.judge.stepper import Step
    from kstep.machine.qemu import Text

Registers = Mapping[str, int]
"""As in ``oracle``."""

Foreseen = Mapping[str, int | None]
"""The registers after an instruction; None where that cannot be told."""

Stored = Mapping[int, int]
"""The bytes that an instruction leaves in memory, by address."""

Read = Callable[[int, int], bytes]
"""Reads the guest's memory: so many bytes at an address."""

PAGE: Final = 4096
STACK: Final = 4 * PAGE  # THREAD_SIZE in asm/memory.h, and aligned to it
ZEROS, ONES = b"\x00", b"\xff"
# arch/arm64/include/asm/memory.h: with 48 bits of address, RAM as it lies, and nothing else
# (from 5.4 on; before, it is the upper half).
LINEAR_MAP: Final = range(0xFFFF_0000_0000_0000, 0xFFFF_8000_0000_0000)
# A task_struct, which the way into the debugger counts in: preempt_count in
# debug_exception_enter() (arch/arm64/mm/fault.c), rcu_read_lock_nesting in the notifiers.
TASK: Final = 4096

NZCV = 0xF << 28
DAIF = 0xF << 6
SS = 1 << 21  # the debugger's own: set to step, and clear behind a step
# Every instruction writes it: BR and BLR with what the page that they are in says, which nobody
# knew, all others with zero (FEAT_BTI; a CPU without has zero always).
BTYPE = 3 << 10
UNJUDGED = SS | BTYPE

_GENERAL = {f"x{n}": getattr(arm64, f"UC_ARM64_REG_X{n}") for n in range(31)}
_ALL = _GENERAL | {"sp": arm64.UC_ARM64_REG_SP, "pc": arm64.UC_ARM64_REG_PC}
_VECTORS = [getattr(arm64, f"UC_ARM64_REG_Q{n}") for n in range(32)]

# MSR to a field of PSTATE from a register, without the register; the bits that it takes over,
# which stand in the register where they stand in SPSR_EL1.
_MSR_REGISTER = {
    0xD51B_4200: NZCV,
    0xD51B_4220: DAIF,
    0xD518_4260: 1 << 22,  # PAN
    0xD518_4280: 1 << 23,  # UAO
    0xD51B_42A0: 1 << 24,  # DIT
    0xD51B_42C0: 1 << 12,  # SSBS
    0xD51B_42E0: 1 << 25,  # TCO
}
# MSR to a field of PSTATE from an immediate, without the immediate: likewise.
_MSR_IMMEDIATE = {
    0xD500_407F: 1 << 23,  # UAO
    0xD500_409F: 1 << 22,  # PAN
    0xD500_40BF: 1 << 0,  # SPSel
    0xD503_403F: 1 << 12,  # SSBS
    0xD503_405F: 1 << 24,  # DIT
    0xD503_409F: 1 << 25,  # TCO
}
_DAIF_SET, _DAIF_CLEAR = 0xD503_40DF, 0xD503_40FF
_FLAG_FORMATS = (0xD500_401F, 0xD500_403F, 0xD500_405F)  # CFINV, XAFLAG, AXFLAG
_MRS_NZCV = 0xD53B_4200
_HINT = 0xD503_201F
# Hints that sign, authenticate or strip a pointer, by number: XPACLRI, and those for x30 with
# SP or zero; those for x17 with x16. On a CPU without that they do nothing.
_SIGNS_LINK = frozenset({7, *range(24, 32)})
_SIGNS_X17 = frozenset(range(8, 16))


class Effect(NamedTuple):
    """What an instruction makes of the registers, and what it stores as far as that is known."""

    registers: Foreseen
    stored: Stored


class Emulator:
    """An arm64 processor beside the one under test, whose stack it reads through ``read``."""

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

    def foresee(self, word: int, registers: Registers) -> Effect:
        """Tell what the instruction ``word`` makes of the registers, and what it stores.

        Of ``pstate`` all that the instruction does not write is as before.
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
        foreseen = {
            name: value if value == ones.registers[name] else None
            for name, value in zeros.registers.items()
        }
        if decode(word, registers["pc"]).form.authenticated:
            foreseen["pc"] = None
        if word & 0xFFFF_0000 == 0xDAC1_0000:  # noqa: PLR2004 -- PACIA and its like, by a key
            foreseen |= _unknown(word & 31)
        return Effect(foreseen, stored)

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
        except MachineryError as error:  # it would not get through unicorn
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


class Watch:
    """The registers of what is stepped, held against what each instruction makes of them.

    So is the memory that it stores to. ``judged`` counts the instructions whose every
    register was foreseen, ``in_part`` those that loaded what nobody knew, ``stores`` those
    that left something in memory which was looked at.
    """

    def __init__(self, kdb: Kdb, text: Text, read: Read) -> None:
        self._kdb = kdb
        self._text = text
        self._read = read
        self._emulator = Emulator(read)
        self._counts: Counter[str] = Counter()
        self._look(kdb.registers())

    @property
    def metrics(self) -> dict[str, float]:
        """How many steps were judged, and how."""
        return {name: self._counts[name] for name in ("judged", "in_part", "stores")}

    def must_be_right(self, step: Step) -> None:
        """Raise KernelFault ``wrong-registers`` where a register is not what it must be.

        ``wrong-memory`` where a store is not found where it must have gone. Call it once for
        every step, before the next.
        """
        before, word, (foreseen, stored) = self._registers, self._word, self._effect
        self._look(self._kdb.registers())
        if step.instruction.word != word:
            return  # patched by an interrupt, before it was stepped
        self._counts["in_part" if None in foreseen.values() else "judged"] += 1
        wrong = [
            f"{name} {value:#x}, not {wanted:#x} (before: {before[name]:#x})"
            for name, value in self._registers.items()
            if (wanted := foreseen[name]) is not None and value != wanted
        ]
        if wrong:
            raise KernelFault(
                Signature.WRONG_REGISTERS,
                f"step {step.number} from {step.before} ({word:08x}) leaves {', '.join(wrong)}",
            )
        self._must_be_stored(step, stored)

    def _must_be_stored(self, step: Step, stored: Stored) -> None:
        own = range(step.stop.task, step.stop.task + TASK)
        known = sorted(at for at in stored if at in LINEAR_MAP and at not in own)
        if not known:
            return
        self._counts["stores"] += 1
        found = self._read(known[0], known[-1] + 1 - known[0])
        wrong = [at for at in known if found[at - known[0]] != stored[at]]
        if wrong:
            wanted = bytes(stored[at] for at in known)
            raise KernelFault(
                Signature.WRONG_MEMORY,
                f"step {step.number} from {step.before} ({step.instruction.word:08x}) leaves"
                f" {found.hex()} at {known[0]:#x}, and was to store {wanted.hex()}",
            )

    def _look(self, registers: Registers) -> None:
        self._registers = {**registers, "pstate": registers["pstate"] & ~UNJUDGED}
        self._word = self._text.word(registers["pc"])
        self._effect = self._emulator.foresee(self._word, self._registers)


def _system(word: int, registers: Registers) -> Foreseen:
    """Foresee a system instruction: it goes on at PC+4, and few of them write what kdb shows."""
    foreseen: dict[str, int | None] = {**registers, "pc": registers["pc"] + 4}
    pstate, target = registers["pstate"], word & 31
    source = 0 if target == 31 else registers[f"x{target}"]  # noqa: PLR2004 -- XZR
    immediate = word >> 8 & 15
    if mask := _MSR_REGISTER.get(word & ~31):
        foreseen["pstate"] = pstate & ~mask | source & mask
    elif mask := _MSR_IMMEDIATE.get(word & ~0xF00):
        foreseen["pstate"] = pstate | mask if immediate & 1 else pstate & ~mask
    elif word & ~0xF00 == _DAIF_SET:
        foreseen["pstate"] = pstate | immediate << 6
    elif word & ~0xF00 == _DAIF_CLEAR:
        foreseen["pstate"] = pstate & ~(immediate << 6)
    elif word & ~0xF00 in _FLAG_FORMATS:
        foreseen["pstate"] = None
    elif word & ~31 == _MRS_NZCV:
        foreseen |= dict.fromkeys(_unknown(target), pstate & NZCV)
    elif word & ~0xFE0 == _HINT:
        number = word >> 5 & 127
        foreseen |= {"x30": None} if number in _SIGNS_LINK else {}
        foreseen |= {"x17": None} if number in _SIGNS_X17 else {}
    elif word >> 21 & 1:  # MRS, SYSL
        foreseen |= _unknown(target)
    return foreseen


def _unknown(number: int) -> dict[str, None]:
    return {} if number == 31 else {f"x{number}": None}  # noqa: PLR2004 -- XZR
