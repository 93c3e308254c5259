# SPDX-License-Identifier: GPL-2.0-only
"""Backtraces: what was printed against frame records."""

from __future__ import annotations

import struct

import pytest

from kstep.base.outcome import KernelFault, Signature
from kstep.image.symbols import Symbols
from kstep.judge.backtrace import Frame, disagreement, printed, recorded
from kstep.machine.interface import UnmappedError

TEXT = """\
Stack traceback for pid 23
0xffff000000a31800       23        1  1    0   R  0xffff000000a31fe0 *busybox
CPU: 0 PID: 23 Comm: busybox Not tainted 6.1.192 #1
Call trace:
 el1h_64_sync+0x74/0x78
 leaf+0x8/0x20
 middle+0x14/0x40
 outer.part.0+0x20/0x20 (P)
"""
LEAF, MIDDLE, OUTER, NEXT = 0x1000, 0x1020, 0x1060, 0x1080
ADDRESSES = {"leaf": LEAF, "middle": MIDDLE, "outer.part.0": OUTER, "next": NEXT}
SYMBOLS = Symbols(tuple(ADDRESSES.values()), tuple(ADDRESSES), ADDRESSES)
# The last is where `next` begins: outer ends in its call.
STACK = [LEAF + 8, MIDDLE + 0x14, NEXT]


def test_frames_are_read() -> None:
    assert [str(frame) for frame in printed(TEXT)] == [
        "el1h_64_sync+0x74",
        "leaf+0x8",
        "middle+0x14",
        "outer.part.0+0x20",
    ]


def test_records_are_followed_to_their_end() -> None:
    memory = {
        0x8000: struct.pack("<QQ", 0x8040, MIDDLE + 0x14),
        0x8040: struct.pack("<QQ", 0x8080, NEXT),
        0x8080: struct.pack("<QQ", 0, 0),
    }
    assert recorded(LEAF + 8, 0x8000, lambda address, _size: memory[address]) == STACK


def test_a_signed_return_address_is_that_without_its_code() -> None:
    """As on a CPU with pointer authentication; bit 55 tells a kernel address."""
    back = 0xFFFF_8000_0801_2344
    memory = struct.pack("<QQ", 0, back ^ 0x005A_0000_0000_0000 ^ 0x7F00_0000_0000_0000)
    assert recorded(LEAF, 0x8000, lambda *_: memory) == [LEAF, back]


def test_a_frame_of_user_space_is_none_of_the_kernels() -> None:
    def read(address: int, _size: int) -> bytes:
        raise UnmappedError(f"{address:#x}")

    with pytest.raises(KernelFault, match=r"frame 1 .* is at 0xffffc64141a0") as fault:
        recorded(LEAF, 0xFFFF_C641_41A0, read)
    assert fault.value.signature is Signature.WRONG_RESULT


def test_records_that_go_round_come_to_an_end() -> None:
    assert len(recorded(LEAF, 0x8000, lambda *_: struct.pack("<QQ", 0x8000, LEAF))) == 100


def test_what_agrees() -> None:
    assert disagreement(printed(TEXT), STACK, SYMBOLS) == ""


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        ([], "leaf+0x8 is not in it"),
        ([Frame("leaf", 8), Frame("outer.part.0", 0x20)], "it shows outer.part.0+0x20, not middle"),
        ([Frame("leaf", 8), Frame("middle", 0x14)], "it ends before next"),
        ([Frame("leaf", 4), Frame("middle", 0x14)], "leaf+0x8 is not in it"),
    ],
)
def test_what_does_not(frames: list[Frame], fault: str) -> None:
    assert fault in disagreement(frames, STACK, SYMBOLS)
