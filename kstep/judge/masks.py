# SPDX-License-Identifier: GPL-2.0-only
"""DAIF, the exception masks of a CPU, followed along the code that reads and writes them.

The code that is stepped masks and unmasks interrupts itself, and must find them as it left
them; what a debugger masks for its own sake is none of that code's business. So what DAIF
has to be is computed from where the path began and the instructions since, and from
nothing that the debugger does.

Encodings are those of the Arm ARM (DDI 0487, "MSR (immediate)", "MRS" and "MSR (register)"
with op0 3, op1 3, CRn 4, CRm 2, op2 1), compared with GNU as 2.40.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature

if TYPE_CHECKING:
    from kstep.arm64.branch import Registers
    from kstep.console.kdb import Kdb
    from kstep.judge.stepper import Step

LETTERS = "DAIF"  # from bit 9 down, in DAIF as in PSTATE
LOWEST = 6
BITS = 0xF << LOWEST
DEBUG = 1 << 9
INTERRUPTS = 1 << 7

_REGISTER = 0xFFFF_FFE0  # of MRS and MSR, all but the general-purpose register
_IMMEDIATE = 0xFFFF_F0FF  # of DAIFSet and DAIFClr, all but the four bits
_MRS, _MSR, _SET, _CLEAR = 0xD53B_4220, 0xD51B_4220, 0xD503_40DF, 0xD503_40FF
_ZERO_REGISTER = 31


def reads(word: int) -> bool:
    """Whether the instruction is `mrs xN, daif`."""
    return word & _REGISTER == _MRS


def writes(word: int) -> bool:
    """Whether the instruction is `msr daif, xN`, `msr daifset` or `msr daifclr`."""
    return word & _REGISTER == _MSR or word & _IMMEDIATE in (_SET, _CLEAR)


def after(word: int, value: int, registers: Registers) -> int:
    """Return DAIF after an instruction, from what it was before and the registers before."""
    operand = (word >> 8 & 0xF) << LOWEST
    if word & _REGISTER == _MSR:
        return _general(word, registers) & BITS
    if word & _IMMEDIATE == _SET:
        return value | operand
    if word & _IMMEDIATE == _CLEAR:
        return value & ~operand
    return value


def sets_all(word: int) -> bool:
    """Whether the instruction is `msr daifset, #15`."""
    return word == _SET | 0xF << 8


def _general(word: int, registers: Registers) -> int:
    number = word & 31
    return 0 if number == _ZERO_REGISTER else registers[f"x{number}"]


def text(value: int) -> str:
    """Write masks as `-AI-`: a letter is a mask that is set."""
    return "".join(
        letter if value >> 9 - place & 1 else "-" for place, letter in enumerate(LETTERS)
    )


@dataclass
class Masks:
    """What DAIF has to be as a path goes on; ``value`` is what it was where the path began."""

    kdb: Kdb
    value: int
    reads: int = 0
    writes: int = 0
    given_back: int = 0  # times that interrupts came on again

    @classmethod
    def here(cls, kdb: Kdb) -> Masks:
        """Begin where the kernel is stopped now."""
        return cls(kdb, kdb.registers()["pstate"] & BITS)

    def must_be_the_code_s_own(self, step: Step) -> None:
        """Raise KernelFault ``masked-interrupts`` where the code finds other masks than it left.

        Looked at after each instruction that reads or writes them: what it read, and the
        stopped context's PSTATE.
        """
        word = step.instruction.word
        if not reads(word) and not writes(word):
            return
        registers = self.kdb.registers()
        self.reads += reads(word)
        self.writes += writes(word)
        if reads(word) and word & 31 != _ZERO_REGISTER:
            self._compare(f"step {step.number} at {step.before} reads", _general(word, registers))
        before = self.value
        self.value = after(word, before, registers)  # MSR leaves its register as it was
        self.given_back += bool(before & ~self.value & INTERRUPTS)
        self._compare(f"step {step.number} at {step.before} leaves", registers["pstate"])

    def must_still_hold(self) -> None:
        """Raise KernelFault ``masked-interrupts`` where they are others now."""
        self._compare("the end of the path has", self.kdb.registers()["pstate"])

    def _compare(self, where: str, found: int) -> None:
        if found & BITS != self.value:
            raise KernelFault(
                Signature.MASKED_INTERRUPTS,
                f"{where} DAIF as {text(found)}, and the path so far makes it {text(self.value)}",
            )
