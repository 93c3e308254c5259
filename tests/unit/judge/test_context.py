# SPDX-License-Identifier: GPL-2.0-only
"""The registers of the stopped context, read where the kernel keeps them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.judge.context import Context

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.machine.interface import Machine

POINTER, FRAME = 0xFFFF_8000_0A0B_0C00, 0xFFFF_8000_0800_BEB0
# The offsets of struct user_pt_regs.
OFFSETS = {"x0": 0, "x30": 0xF0, "sp": 0xF8, "pc": 0x100, "pstate": 0x108}


def read(address: int, size: int) -> bytes:
    """Memory in which each word of the frame is its offset."""
    if address == POINTER:
        return FRAME.to_bytes(size, "little")
    words = range(address - FRAME, address - FRAME + size, 8)
    return b"".join(word.to_bytes(8, "little") for word in words)


@pytest.mark.parametrize(("name", "offset"), OFFSETS.items())
def test_a_register_is_where_the_pointer_leads(name: str, offset: int) -> None:
    context = Context(POINTER, read)
    assert context.register(name) == offset
    assert context.registers()[name] == offset


@pytest.mark.parametrize(
    ("shares", "symbol", "there"),
    [
        (True, "kdb_current_regs", True),
        (False, "kdb_current_regs", False),
        (True, "kdb_current_regs_not", False),
    ],
)
def test_of_a_machine_that_shares_its_memory(
    tmp_path: Path, *, shares: bool, symbol: str, there: bool
) -> None:
    path = tmp_path / "System.map"
    path.write_text(f"{FRAME:016x} T kdb_main_loop\n{POINTER:016x} B {symbol}\n")
    kernel = SimpleNamespace(system_map=path)
    machine = SimpleNamespace(kernel=kernel, shares_memory=shares, read=read)
    context = Context.of(cast("Machine", machine))
    assert (context is not None) is there
    assert context is None or context.register("x30") == OFFSETS["x30"]
