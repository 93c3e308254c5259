# SPDX-License-Identifier: GPL-2.0-only
"""The registers and memory of stepped code, compared with the emulated effect of each instruction.

Loads are judged only from the stack, because a tick or the debugger may change other memory:
kgdb changes the task's preempt_count, for one, while it holds the CPU. Stores are compared only
in RAM, because reading a device can change it, and not in the task's own structure, where the
debugger counts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from kstep.arm64.emulator import Emulator
from kstep.base.outcome import KernelFault, Signature

if TYPE_CHECKING:
    from kstep.arm64.branch import Registers
    from kstep.arm64.emulator import Read, Stored
    from kstep.judge.livelock import Debugger
    from kstep.judge.stepper import Step
    from kstep.judge.text import LiveText

# arch/arm64/include/asm/memory.h: with 48-bit addresses, the linear map of RAM and nothing else
# (since 5.4; before, the upper half).
LINEAR_MAP: Final = range(0xFFFF_0000_0000_0000, 0xFFFF_8000_0000_0000)
# A task_struct, whose counters change on entry to the debugger: preempt_count in
# debug_exception_enter() (arch/arm64/mm/fault.c), rcu_read_lock_nesting in the notifiers.
TASK: Final = 4096

SS = 1 << 21  # belongs to the debugger: set to step, clear after a step
# Every instruction writes it: BR and BLR with a value that depends on their page, which is unknown,
# all others with zero (FEAT_BTI; without it BTYPE is always zero).
BTYPE = 3 << 10
UNJUDGED = SS | BTYPE


class Watch:
    """The registers and stores of stepped code, compared with the emulated effect.

    ``judged`` counts the instructions with every register predicted, ``in_part`` those that
    loaded an unknown value, ``stores`` those whose store was compared.
    """

    def __init__(self, debugger: Debugger, text: LiveText, read: Read) -> None:
        self._debugger = debugger
        self._text = text
        self._read = read
        self._emulator = Emulator(read)
        self._counts: Counter[str] = Counter()
        self._look(debugger.registers())

    @property
    def metrics(self) -> dict[str, float]:
        """How many steps were judged, by kind."""
        return {name: self._counts[name] for name in ("judged", "in_part", "stores")}

    def must_match_emulator(self, step: Step) -> None:
        """Raise KernelFault ``wrong-registers`` if a register has the wrong value.

        ``wrong-memory`` if memory does not hold what was stored. Call it once after each step.
        """
        before, word, (predicted, stored) = self._registers, self._word, self._effect
        self._look(self._debugger.registers())
        if step.instruction.word != word:
            return  # patched by an interrupt, before it was stepped
        self._counts["in_part" if None in predicted.values() else "judged"] += 1
        wrong = [
            f"{name} {value:#x}, not {wanted:#x} (before: {before[name]:#x})"
            for name, value in self._registers.items()
            if (wanted := predicted[name]) is not None and value != wanted
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
                f" {found.hex()} at {known[0]:#x}, but should have stored {wanted.hex()}",
            )

    def _look(self, registers: Registers) -> None:
        self._registers = {**registers, "pstate": registers["pstate"] & ~UNJUDGED}
        self._word = self._text.word(registers["pc"])
        self._effect = self._emulator.predict(self._word, self._registers)
