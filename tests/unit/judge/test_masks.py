# SPDX-License-Identifier: GPL-2.0-only
"""DAIF along a path: what is read, what is written, and what is found instead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.arm64 import daif
from kstep.base.outcome import KernelFault, Signature
from kstep.judge.masks import Masks

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.judge.stepper import Step

# As GNU as 2.40 has them.
MRS_X5 = 0xD53B_4225
MSR_X3 = 0xD51B_4223
MSR_XZR = 0xD51B_423F
SET_3 = 0xD503_43DF
SET_15 = 0xD503_4FDF
CLEAR_3 = 0xD503_43FF
CLEAR_15 = 0xD503_4FFF
NOP = 0xD503_201F
MSR_SPSEL_1 = 0xD500_41BF
IRQ_FIQ = 0xC0
ALL = 0x3C0


class Stopped:
    """Stands for kdb: gives the registers that the test puts there."""

    def __init__(self, pstate: int) -> None:
        self.now = {f"x{n}": 0 for n in range(31)} | {"pstate": pstate}

    def registers(self) -> dict[str, int]:
        """Return a copy, as every `rd` does."""
        return dict(self.now)

    def step(self, masks: Masks, word: int, pstate: int, **registers: int) -> None:
        """Stop behind ``word`` with these registers, and look."""
        self.now |= {"pstate": pstate, **registers}
        step = SimpleNamespace(
            number=1, before="somewhere+0x4", instruction=SimpleNamespace(word=word)
        )
        masks.must_match_daif(cast("Step", step))


def start(pstate: int) -> tuple[Stopped, Masks]:
    stopped = Stopped(pstate)
    return stopped, Masks.here(cast("Kdb", stopped))


@pytest.mark.parametrize(
    ("word", "before", "expected"),
    [
        (SET_3, 0, IRQ_FIQ),
        (SET_3, 0x100, 0x1C0),
        (CLEAR_3, ALL, 0x300),
        (SET_15, 0, ALL),
        (CLEAR_15, ALL, 0),
        (MSR_XZR, ALL, 0),
        (MSR_X3, 0, 0x80),
        (MRS_X5, IRQ_FIQ, IRQ_FIQ),
        (NOP, IRQ_FIQ, IRQ_FIQ),
        (MSR_SPSEL_1, IRQ_FIQ, IRQ_FIQ),
    ],
)
def test_each_instruction_leaves_the_masks_that_the_architecture_says(
    word: int, before: int, expected: int
) -> None:
    assert daif.after(word, before, {"x3": 0x6000_0080}) == expected


def test_only_reads_and_writes_of_daif_are_taken_for_such() -> None:
    assert [w for w in (MRS_X5, MSR_X3, SET_3, NOP, MSR_SPSEL_1) if daif.reads(w)] == [MRS_X5]
    assert [w for w in (MRS_X5, MSR_X3, SET_3, CLEAR_3, NOP, MSR_SPSEL_1) if daif.writes(w)] == [
        MSR_X3,
        SET_3,
        CLEAR_3,
    ]


def test_code_that_saves_masks_and_restores_is_followed() -> None:
    stopped, masks = start(0x6000_0005)
    stopped.step(masks, MRS_X5, 0x6000_0005, x5=0)
    stopped.step(masks, SET_3, 0x6000_00C5)
    stopped.step(masks, NOP, 0x6000_00C5)
    stopped.step(masks, MSR_X3, 0x6000_0005, x3=0)
    masks.must_still_hold()
    assert (masks.reads, masks.writes, masks.unmasked) == (1, 2, 1)


def test_code_that_reads_masks_of_the_debugger_is_a_fault() -> None:
    stopped, masks = start(0x5)
    with pytest.raises(KernelFault, match=r"reads DAIF as --IF.* set it to ----") as caught:
        stopped.step(masks, MRS_X5, 0x5, x5=IRQ_FIQ)
    assert caught.value.signature is Signature.MASKED_INTERRUPTS


def test_masks_that_are_not_given_back_are_a_fault() -> None:
    stopped, masks = start(0xC5)
    with pytest.raises(KernelFault, match=r"leaves DAIF as --I-.* set it to ----"):
        stopped.step(masks, CLEAR_3, 0x85)


def test_masks_lost_meanwhile_are_a_fault_at_the_end() -> None:
    stopped, masks = start(0xC5)
    stopped.step(masks, NOP, 0x5)
    with pytest.raises(KernelFault, match=r"end of the path has DAIF as ----.* set it to --IF"):
        masks.must_still_hold()
