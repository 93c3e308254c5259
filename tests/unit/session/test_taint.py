# SPDX-License-Identifier: GPL-2.0-only
"""Which bits of the kernel's taint tell of a fault."""

from __future__ import annotations

import pytest

from kstep.session import taint


@pytest.mark.parametrize(
    ("mask", "letters"),
    [(0, ""), (512, "W"), (128, "D"), (16384, "L"), (16, "M"), (32, "B"), (640, "DW")],
)
def test_a_fault_is_named(mask: int, letters: str) -> None:
    assert "".join(name[0] for name in taint.faults(mask)) == letters


def test_the_rest_is_no_fault() -> None:
    """Modules, firmware, live patches, how it was built, what tests it."""
    bits = {*range(20)} - {4, 5, 7, 9, 14}
    assert taint.faults(sum(1 << bit for bit in bits)) == []
