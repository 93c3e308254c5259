# SPDX-License-Identifier: GPL-2.0-only
"""Names of addresses, held against the lines of a System.map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.image.symbols import CodeAddress, Symbols

if TYPE_CHECKING:
    from pathlib import Path

MAP = """\
0000000000000200 A _kernel_flags_le_hi32
ffff800008000000 t .head.text
ffff800008000000 T _text
ffff800008010000 T vectors
ffff8000081584c0 t helper
ffff8000081584c0 T set_fs_pwd
ffff8000081584c0 W alias
ffff8000081584c0 t .static
ffff800008158550 t set_fs_root
ffff800008800000 D data_follows
ffff800008800010 t late
"""


@pytest.fixture
def symbols(tmp_path: Path) -> Symbols:
    """Return the symbols of MAP."""
    (tmp_path / "System.map").write_text(MAP)
    return Symbols.load(tmp_path / "System.map")


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (0xFFFF_8000_0801_0000, "vectors"),
        (0xFFFF_8000_0801_0280, "vectors+0x280"),
        (0xFFFF_8000_0815_84C4, "alias+0x4"),  # of names at one address the last global one
        (0xFFFF_8000_0815_854C, "alias+0x8c"),
        (0xFFFF_8000_0815_8550, "set_fs_root"),
        (0xFFFF_8000_0800_0000, "_text"),
        (0x40_368C, "0x40368c"),  # user space
    ],
)
def test_a_place_is_written_as_kallsyms_does(symbols: Symbols, address: int, place: str) -> None:
    assert str(symbols.locate(address)) == place


def test_only_functions_have_names(symbols: Symbols) -> None:
    assert "vectors" in symbols
    assert "data_follows" not in symbols
    assert symbols.address("set_fs_root") == 0xFFFF_8000_0815_8550
    with pytest.raises(KeyError):
        symbols.address("nothing")


def test_a_function_ends_where_the_next_begins(symbols: Symbols) -> None:
    span = symbols.span("set_fs_pwd")
    assert (span.start, span.stop) == (0xFFFF_8000_0815_84C0, 0xFFFF_8000_0815_8550)
    assert span.step == 4
    assert symbols.span("alias") == span
    assert len(symbols.span("late")) == 1  # the last one: nobody knows where it ends


def test_a_slip_is_answered_with_what_comes_near(symbols: Symbols) -> None:
    assert symbols.like("set_fs_rot")[0] == "set_fs_root"


@given(st.sets(st.integers(0, 1 << 64), min_size=1), st.integers(0, 1 << 64))
def test_a_place_is_the_nearest_symbol_below(addresses: set[int], address: int) -> None:
    ordered = tuple(sorted(addresses))
    place = Symbols(ordered, tuple(f"f{a}" for a in ordered), {}).locate(address)
    below = [a for a in ordered if a <= address]
    if below:
        assert place == CodeAddress(address, f"f{below[-1]}", address - below[-1])
    else:
        assert place == CodeAddress(address, "", 0)


def test_static_functions_share_a_name(tmp_path: Path) -> None:
    (tmp_path / "System.map").write_text(
        "ffff800008000000 t show\nffff800008000010 t other\nffff800008000020 t show\n"
    )
    symbols = Symbols.load(tmp_path / "System.map")
    assert symbols.all_named("show") == (0xFFFF800008000000, 0xFFFF800008000020)
    assert symbols.all_named("other") == (0xFFFF800008000010,)


def test_a_static_function_that_lto_makes_global_has_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "System.map").write_text(
        "ffff8000080f3278 t ____do_softirq.llvm.3101087075619708606\nffff8000080f3290 T next\n"
    )
    symbols = Symbols.load(tmp_path / "System.map")
    assert str(symbols.locate(0xFFFF_8000_080F_328C)) == "____do_softirq+0x14"
    assert "____do_softirq" in symbols
