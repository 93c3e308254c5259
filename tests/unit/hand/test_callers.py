# SPDX-License-Identifier: GPL-2.0-only
"""Who branches to a function, in an image of a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.build.kernel import Kernel
from kstep.hand.callers import callers
from kstep.image.symbols import Symbols

if TYPE_CHECKING:
    from pathlib import Path

TEXT = 0xFFFF_8000_0800_0000
RET, NOP = 0xD65F_03C0, 0xD503_201F
NAMES = ("first", "second", "third", "fourth")  # of four words each


def bl(at: int, to: int) -> int:
    """Encode BL from one word to another; C6.2.36 of the architecture's manual."""
    return 0x9400_0000 | ((to - at) & 0x3FF_FFFF)


def b(at: int, to: int) -> int:
    """Encode B."""
    return bl(at, to) & 0x7FFF_FFFF


def image(tmp_path: Path, words: dict[int, int], tail: bytes = b"") -> tuple[Kernel, Symbols]:
    """Return a kernel with these words, by their number, and no others of interest."""
    code = b"".join(words.get(n, NOP).to_bytes(4, "little") for n in range(4 * len(NAMES)))
    (tmp_path / "Image").write_bytes(code + tail)
    starts = {name: TEXT + 16 * number for number, name in enumerate(NAMES)}
    lines = [f"{TEXT:x} t _text", *(f"{at:x} T {name}" for name, at in starts.items())]
    (tmp_path / "System.map").write_text("\n".join(lines) + "\n")
    kernel = Kernel("k", tmp_path, True, "", "", "", 0.0, 0)  # noqa: FBT003 -- cached
    return kernel, Symbols.load(kernel.system_map)


def named(tmp_path: Path, words: dict[int, int], *targets: str, tail: bytes = b"") -> list[str]:
    """Ask who calls."""
    kernel, symbols = image(tmp_path, words, tail)
    return callers(kernel, symbols, [symbols.address(name) for name in targets])


@pytest.mark.parametrize("branch", [bl, b])
def test_a_branch_of_either_kind_forwards_and_back(tmp_path: Path, branch: type) -> None:
    words = {1: branch(1, 8), 13: branch(13, 8)}
    assert named(tmp_path, words, "third") == ["first", "fourth"]


def test_each_is_named_once_in_the_order_of_addresses(tmp_path: Path) -> None:
    words = {5: bl(5, 12), 6: bl(6, 12), 2: bl(2, 12)}
    assert named(tmp_path, words, "fourth") == ["first", "second"]


def test_what_calls_itself_is_no_caller(tmp_path: Path) -> None:
    assert named(tmp_path, {9: bl(9, 8)}, "third") == []


def test_a_branch_into_the_middle_is_no_call(tmp_path: Path) -> None:
    assert named(tmp_path, {0: bl(0, 9)}, "third") == []


def test_any_of_several_targets_counts(tmp_path: Path) -> None:
    assert named(tmp_path, {0: bl(0, 8), 5: bl(5, 12)}, "third", "fourth") == ["first", "second"]


def test_what_is_no_whole_word_at_the_end_is_none(tmp_path: Path) -> None:
    assert named(tmp_path, {0: bl(0, 8)}, "third", tail=b"\x01\x02\x03") == ["first"]


def test_other_instructions_with_the_target_in_them_are_none(tmp_path: Path) -> None:
    """Neither ``cbz`` nor data that only resembles it."""
    assert named(tmp_path, {0: 0xB400_0100, 1: RET}, "third") == []
