# SPDX-License-Identifier: GPL-2.0-only
"""Which loops wait for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.judge.livelock import Rounds

if TYPE_CHECKING:
    from collections.abc import Iterable

SEQCOUNT = (
    0xB9400062,  # ldr w2, [x3]
    0x3707FFE2,  # tbnz w2, #0, back
    0xD50339BF,  # dmb ishld
    0xF9400660,  # ldr x0, [x19, #8]
    0xB9400061,  # ldr w1, [x3]
    0x6B02003F,  # cmp w1, w2
    0x54FFFF41,  # b.ne back
)
# The same with LTO, where READ_ONCE() acquires (arch/arm64/include/asm/rwonce.h).
ACQUIRING = (
    0xB8BFC109,  # ldapr w9, [x8]
    0x3707FFC9,  # tbnz w9, #0, back
    0xD50339BF,  # dmb ishld
    0xF940150A,  # ldr x10, [x8, #40]
    0xA900280C,  # stp x12, x10, [x0]
    0xD50339BF,  # dmb ishld
    0xB8BFC10A,  # ldapr w10, [x8]
    0x6B09015F,  # cmp w10, w9
    0x54FFFF01,  # b.ne back
)
COPY = (
    0xF8408422,  # ldr x2, [x1], #8
    0xEB03003F,  # cmp x1, x3
    0x54FFFFC1,  # b.ne back
)


def rounds(words_: Iterable[int], count: int = 3) -> Rounds:
    found = Rounds()
    for _ in range(count):
        found.add(words_)
    return found


VALUES = {f"x{n}": 0x1000 * n for n in range(31)} | {"sp": 0xF000}


def test_a_reader_of_a_seqcount_waits() -> None:
    assert rounds(SEQCOUNT).wait(VALUES)
    assert rounds(ACQUIRING).wait(VALUES | {"x0": 0x2_0000})
    assert not rounds(SEQCOUNT).clock


@pytest.mark.parametrize(
    "more",
    [
        0xF9000660,  # str x0, [x19, #8]: what it has read
        0xB9000C60,  # str w0, [x3, #12]: but see below
        0xF8008660,  # str x0, [x19], #8
        0xF8216800,  # str x0, [x0, x1]
        0x91000673,  # add x19, x19, #1
    ],
)
def test_a_loop_that_counts_or_writes_what_it_reads_does_not(more: int) -> None:
    """A pointer that moves, a register that is added to, memory that may be that."""
    waits = rounds((*SEQCOUNT, more)).wait(VALUES)
    assert waits == (more == 0xB9000C60)


def test_a_copy_does_not_wait() -> None:
    assert not rounds(COPY).wait(VALUES)


def test_what_is_written_elsewhere_is_no_matter() -> None:
    """As ktime_get_coarse_real_ts64() writes to its caller's, in each round."""
    stp = 0xA9000C05  # stp x5, x3, [x0]
    seqcount = [word for word in SEQCOUNT if word != 0xF9400660]
    assert rounds((*seqcount, stp)).wait(VALUES)
    assert not rounds((*seqcount, stp)).wait(VALUES | {"x0": VALUES["x3"] - 8})
    assert rounds((*seqcount, stp)).wait(VALUES | {"x0": VALUES["x3"] - 16})


def test_what_one_round_leaves_to_another_way_round_counts() -> None:
    """Read before it is written in a round that goes one way, written in one that goes another."""
    found = Rounds()
    found.add([0xAA0503E4])  # mov x4, x5
    assert found.wait(VALUES)
    found.add([0xD2800005])  # mov x5, #0
    assert not found.wait(VALUES)
