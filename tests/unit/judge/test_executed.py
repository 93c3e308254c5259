# SPDX-License-Identifier: GPL-2.0-only
"""What of the emulator's record condemns a step."""

from __future__ import annotations

import pytest

from kstep.base.outcome import KernelFault, Signature
from kstep.image.symbols import CodeAddress
from kstep.judge import executed
from kstep.machine.execution import Execution, Interruption

HERE, NEXT = CodeAddress(0x1000, "f", 0), CodeAddress(0x1004, "f", 4)
IRQ, DEBUG = Interruption(0x280, 2904), Interruption(0x200, None)
ABORT = Interruption(0x200, 700, abort=True)
EXCLUSIVE, MOVE = 0xC85F7C20, 0xAA0103E0  # ldxr x0, [x1]; mov x0, x1


def judge(execution: Execution, word: int = MOVE) -> None:
    executed.must_be_one(1, HERE, word, NEXT, execution, locate)


def locate(address: int) -> CodeAddress:
    return CodeAddress(address, "f", address - 0x1000)


@pytest.mark.parametrize(
    "events", [(0x1000, DEBUG), (IRQ, IRQ, 0x1000, DEBUG), (0x1000, ABORT, IRQ, 0x1000, DEBUG)]
)
def test_one_instruction_with_whole_handlers_before_it(
    events: tuple[int | Interruption, ...],
) -> None:
    judge(Execution(events, level=1))


@pytest.mark.parametrize(
    ("execution", "signature"),
    [
        (Execution((0x1000, Interruption(0x200, 700), 0x1000, DEBUG), level=1), Signature.RUNAWAY),
        (Execution((0x1000, 0x1004, DEBUG), level=1), Signature.RUNAWAY),
        (Execution((0x1008, DEBUG), level=1), Signature.RUNAWAY),
        (Execution((0x1004, DEBUG), level=1), Signature.STUCK),  # pending before it
        (Execution((0x1000, 0x1004), level=1, whole=False), Signature.RUNAWAY),
        (Execution((IRQ, DEBUG), level=1), Signature.STUCK),
        (Execution((DEBUG,), level=1), Signature.STUCK),
        (Execution((Interruption(0x280, None),), level=2), Signature.ENTERS_INTERRUPT),
    ],
)
def test_anything_else_is_a_fault(execution: Execution, signature: Signature) -> None:
    with pytest.raises(KernelFault) as fault:
        judge(execution)
    assert fault.value.signature is signature


def test_the_debugger_may_do_an_exclusive_access_itself() -> None:
    judge(Execution((0x1004, DEBUG), level=1), EXCLUSIVE)
    with pytest.raises(KernelFault):
        judge(Execution((0x1000, 0x1004, DEBUG), level=1), EXCLUSIVE)


def test_the_trace_has_the_events() -> None:
    assert executed.data(Execution((IRQ, 0x1000), level=1)) == [
        {"vector": "0x280", "instructions": 2904, "abort": False},
        {"pc": "0x1000"},
    ]
