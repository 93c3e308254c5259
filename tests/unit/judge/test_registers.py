# SPDX-License-Identifier: GPL-2.0-only
"""A step that leaves other registers or memory than its instruction does is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from kstep.arm64.branch import decode
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import Stop
from kstep.judge.registers import SS, TASK, Watch
from tests.unit.arm64.test_emulator import COUNTED, OWN, PC, RAM, SP, registers, zeros

if TYPE_CHECKING:
    from kstep.arm64.emulator import Read
    from kstep.console.kdb import Kdb
    from kstep.judge.stepper import Step
    from kstep.judge.text import LiveText


class Scripted:
    """Stands for kdb, the text and a step: the same instruction again and again."""

    number, before = 1, "f+0x0"
    stop = Stop("SS trap", PC, 1, 0, task=OWN)

    def __init__(self, *contexts: dict[str, int], word: int = 0x91001020) -> None:
        self._contexts = list(contexts)
        self.instruction = decode(word, PC)

    def registers(self) -> dict[str, int]:
        """Show the next context."""
        return self._contexts.pop(0)

    def word(self, address: int) -> int:
        """Find the same instruction everywhere."""
        assert address % 4 == 0
        return self.instruction.word


def judge(*contexts: dict[str, int], word: int = 0x91001020, read: Read = zeros) -> Watch:
    """Let a watch see a step from the first context to the second, and so on.

    They step ``add x0, x1, #4`` where nothing else is said.
    """
    scripted = Scripted(*contexts, word=word)
    watch = Watch(cast("Kdb", scripted), cast("LiveText", scripted), read)
    for _ in contexts[1:]:
        watch.must_match_emulator(cast("Step", scripted))
    return watch


RIGHT = registers(x0=0x2226, pc=PC + 4)


def test_a_step_that_does_what_its_instruction_says() -> None:
    watch = judge(registers(), RIGHT, {**RIGHT, "pc": PC + 8})
    assert watch.metrics == {"judged": 2, "in_part": 0, "stores": 0}


def test_the_step_bit_is_the_debuggers() -> None:
    judge(registers(), {**RIGHT, "pstate": RIGHT["pstate"] | SS})


def test_where_a_call_came_from_is_not_judged() -> None:
    """BTYPE, which BLR sets on a CPU with FEAT_BTI, and the instruction at its target clears."""
    called = registers(x0=0x1000, x30=PC + 4, pc=0x1000, pstate=0x6000_0805)
    judge(registers(x0=0x1000), called, word=0xD63F_0000)
    judge(registers(pstate=0x6000_0805), RIGHT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x0", 0x2227),
        ("x19", 0),
        ("sp", SP - 16),
        ("pc", PC + 8),
        ("pstate", 0x2000_0005),
        ("pstate", 0x6000_0085),
        ("pstate", 0x6040_0005),
    ],
)
def test_one_register_that_is_another_is_found(name: str, value: int) -> None:
    with pytest.raises(KernelFault, match=f"leaves {name} {value:#x}, not") as caught:
        judge(registers(), {**RIGHT, name: value})
    assert caught.value.signature is Signature.WRONG_REGISTERS


STORE = 0xF9000020  # str x0, [x1]


def test_a_store_that_is_where_it_must_be() -> None:
    before = registers(x0=0x0807_0605_0403_0201, x1=RAM)
    asked = []

    def read(address: int, size: int) -> bytes:
        asked.append((address, size))
        return COUNTED[:size]

    watch = judge(before, {**before, "pc": PC + 4}, word=STORE, read=read)
    assert asked == [(RAM, 8)]
    assert watch.metrics == {"judged": 1, "in_part": 0, "stores": 1}


def test_a_store_that_is_not_there_is_found() -> None:
    before = registers(x0=0x0807_0605_0403_0201, x1=RAM)
    with pytest.raises(KernelFault, match=f"leaves {'00' * 8} at {RAM:#x}") as caught:
        judge(before, {**before, "pc": PC + 4}, word=STORE)
    assert caught.value.signature is Signature.WRONG_MEMORY


@pytest.mark.parametrize(
    "address",
    [0xFFFF_8000_0A00_0000, 0x40_0000, OWN, OWN + TASK - 8],
    ids=["a device's, or the image's", "a program's", "the task's", "its last"],
)
def test_memory_that_is_not_looked_at(address: int) -> None:
    def fail(_address: int, _size: int) -> bytes:
        raise AssertionError

    before = registers(x0=1, x1=address)
    watch = judge(before, {**before, "pc": PC + 4}, word=STORE, read=fail)
    assert watch.metrics["stores"] == 0
