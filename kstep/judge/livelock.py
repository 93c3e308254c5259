# SPDX-License-Identifier: GPL-2.0-only
"""Paths that make no progress: loops that repeat the same registers, and loops that wait.

In a loop that waits, no round depends on an earlier one: it writes no register and no memory
that a later round reads before writing it. It ends only when something else changes what it
reads: another CPU, an interrupt, a device, the clock. A seqcount reader is such a loop; and
while a debugger steps, the tick comes between any two instructions and writes the timekeeper's
count (timekeeping_advance() in kernel/time/timekeeping.c).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kstep.arm64.branch import is_load_exclusive, is_store_exclusive
from kstep.arm64.operands import uses
from kstep.base.outcome import KernelFault, Signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kstep.arm64.operands import Access
    from kstep.image.symbols import CodeAddress
    from kstep.judge.text import LiveText

LOOPING = 16  # visits of one address after which its registers are compared
ROUNDS = 8  # rounds independent of each other after which a path makes no progress
TIMED = 256  # the same for a loop that reads a clock, maybe a delay: at least a tenth of a second
LOOP = 64  # instructions, at most, of a loop that is watched


class Debugger(Protocol):
    """The debugger that steps the kernel: kdb or gdb."""

    def registers(self) -> dict[str, int]:
        """Return x0 to x30, sp, pc and pstate of the stopped context."""

    def register(self, name: str) -> int:
        """Return one of them, which may take less time."""


@dataclass
class Rounds:
    """Rounds of a loop, in order; a round is the instructions that ran."""

    count: int = 0
    live: frozenset[int] = frozenset()  # read in a round before that round wrote it
    written: frozenset[int] = frozenset()
    accesses: frozenset[Access] = frozenset()
    clock: bool = False
    acts: bool = False  # has an instruction with unknown effects

    def add(self, words: Iterable[int]) -> None:
        """Add a round."""
        self.count += 1
        written: set[int] = set()
        for word in words:
            use = uses(word)
            if use is None:
                self.acts = True
                return
            self.live |= use.reads - written
            written |= use.writes
            self.clock |= use.clock
            if use.access is not None:
                self.accesses |= {use.access}
        self.written |= written

    def wait(self, values: Mapping[str, int]) -> bool:
        """Whether no round depends on an earlier one; ``values`` are the registers between rounds.

        A store with an unknown address may change anything that is read.
        """
        if self.acts or self.live & self.written:
            return False
        stores = [each for each in self.accesses if each.store]
        loads = [each for each in self.accesses if not each.store]
        if not stores:
            return True
        if any(each.base is None or each.base in self.written for each in self.accesses):
            return False
        return not any(
            one.address(values) < other.address(values) + other.size
            and other.address(values) < one.address(values) + one.size
            for one in stores
            for other in loads
        )


class Progress:
    """Whether a path makes progress: call ``visit`` and ``require`` for each step, in order."""

    def __init__(self, debugger: Debugger, text: LiveText) -> None:
        self._debugger = debugger
        self._text = text
        self._visits: Counter[int] = Counter()
        self._anchor: int | None = None  # the address that is watched
        self._anchored = 0  # the step that was last there
        self._round: list[int] = []  # the instructions since the anchor
        self._rounds = Rounds()
        self._registers: dict[str, int] = {}
        self._alike = 0  # rounds

    def visit(self, pc: int) -> None:
        """Count an instruction that was stepped."""
        self._visits[pc] += 1

    def require(self, number: int, at: CodeAddress, word: int) -> None:
        """Raise KernelFault ``livelock`` if an address repeats without progress.

        That is: with the same registers, for example if a store-exclusive fails for ever; or in
        a loop that only waits, for example for a stopped CPU, or for a seqcount that the tick
        writes at each step. Step ``number`` was of the instruction ``word`` at ``at``.
        """
        pc = at.address
        if self._anchor is None and self._visits[pc] >= LOOPING:
            self._anchor, self._anchored = pc, number
            self._round, self._rounds = [word], Rounds()
            self._alike, self._registers = 0, self._debugger.registers()
            return
        if self._anchor is None:
            return
        if pc != self._anchor:
            self._round.append(word)
            if number - self._anchored > LOOP:
                self._anchor = None
                self._visits[pc] = 0
            return
        self._anchored = number
        self._rounds.add(self._round)
        self._round = [word]
        registers = self._debugger.registers()
        self._alike = self._alike + 1 if registers == self._registers else 0
        self._registers = registers
        seen = f"step {number} is at {at} for the {self._visits[pc]}th time"
        if self._alike >= ROUNDS:
            raise KernelFault(
                Signature.LIVELOCK,
                f"{seen}, the last {ROUNDS} with the same registers{self._exclusive(pc)}",
            )
        enough = TIMED if self._rounds.clock else ROUNDS
        if self._rounds.count >= enough and self._rounds.wait(registers):
            raise KernelFault(
                Signature.LIVELOCK,
                f"{seen}, in a loop whose rounds are independent of each other: it waits for memory"
                " that something else may change between any two steps",
            )

    def _exclusive(self, pc: int) -> str:
        """Return a note if the loop around ``pc`` is an exclusive pair; "" if not."""
        around = range(pc - 4 * LOOP, pc + 4 * LOOP, 4)
        words = [self._text.word(a) for a in around if self._visits[a] >= ROUNDS]
        if any(map(is_load_exclusive, words)) and any(map(is_store_exclusive, words)):
            return ": an exclusive load/store pair, whose monitor every step clears"
        return ""
