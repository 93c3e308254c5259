# SPDX-License-Identifier: GPL-2.0-only
"""What a function owes its caller, over registers made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.outcome import KernelFault, Signature
from kstep.judge.call import Call

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb

ENTRY = {f"x{n}": n for n in range(31)} | {"sp": 0x1000, "pc": 0x8000, "pstate": 0x60000005}


class FakeKdb:
    """Has the registers of a call, and later those of its return."""

    def __init__(self) -> None:
        self.now = dict(ENTRY)

    def registers(self) -> dict[str, int]:
        """Answer `rd`."""
        return dict(self.now)


def returned_with(**changed: int) -> None:
    """Judge a return."""
    kdb = FakeKdb()
    call = Call("vfs_mkdir", cast("Kdb", kdb))
    assert call.returns_to == 30
    kdb.now |= changed
    call.must_have_restored()


def test_what_is_not_the_callers_may_change() -> None:
    """Arguments, scratch registers, flags, the step bit, the PC."""
    scratch = {f"x{n}": 0 for n in (*range(19), 30)}
    returned_with(**scratch, pc=0x9000, pstate=0x80200005)


@pytest.mark.parametrize("name", [*(f"x{n}" for n in range(19, 30)), "sp"])
def test_what_is_the_callers_may_not(name: str) -> None:
    with pytest.raises(KernelFault, match=f"vfs_mkdir returned: {name} changed from ") as caught:
        returned_with(**{name: 0x1010})
    assert caught.value.signature is Signature.WRONG_REGISTERS


@pytest.mark.parametrize("mask", [0x40, 0x80, 0x100, 0x200])
def test_nor_may_a_mask(mask: int) -> None:
    with pytest.raises(KernelFault, match=f"DAIF changed from 0x0 to {mask:#x}") as caught:
        returned_with(pstate=ENTRY["pstate"] | mask)
    assert caught.value.signature is Signature.MASKED_INTERRUPTS
