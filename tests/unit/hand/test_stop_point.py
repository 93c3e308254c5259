# SPDX-License-Identifier: GPL-2.0-only
"""Functions that cannot be stopped in: each says why, and what to name instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.build.kernel import Kernel
from kstep.hand import stop_point
from kstep.hand.callers import callers
from kstep.image.symbols import Symbols
from kstep.toolchain import CommandError
from tests.unit.fakeqemu import FakeToolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEXT = 0xFFFF_8000_0800_0000
MAP = """\
{0:x} T _text
{0:x} T caller
{1:x} T __noinstr_text_start
{1:x} T blocked
{2:x} T __noinstr_text_end
{2:x} t plain.constprop.0
{3:x} T marked
{4:x} T _sinittext
{4:x} t early
{5:x} T _einittext
"""
BL, B, RET = 0x9400_0000, 0x1400_0000, 0xD65F_03C0
# caller: bl blocked; b marked. blocked: bl blocked.
WORDS = (BL | 4, B | 11, RET, RET, BL, RET, RET, RET)

GDB = """\
Breakpoint 1 at 0xffff800008000004: inline_me. (2 locations)
Num     Type           Disp Enb Address            What
1       breakpoint     keep y   <MULTIPLE>
1.1                         y   0xffff800008000004 in inline_me at /k/source/include/x.h:7
1.2                         y   0xffff800008000034 in inline_me at /k/source/include/x.h:7
"""


class Gdb(FakeToolchain):
    """A toolchain that says what gdb did, or fails."""

    def __init__(self, said: str | None) -> None:
        super().__init__(Path())
        self.said = said

    def run(self, argv: Sequence[str], *, on_line: Callable[[str], None], **_: object) -> None:  # type: ignore[override]
        """Say it."""
        if self.said is None:
            raise CommandError(argv, 1, [])
        for line in self.said.splitlines():
            on_line(line)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """Return a kernel of a few words."""
    (tmp_path / "Image").write_bytes(b"".join(word.to_bytes(4, "little") for word in WORDS))
    starts = [TEXT + 16 * number for number in range(6)]
    (tmp_path / "System.map").write_text(MAP.format(*starts))
    return Kernel("key", tmp_path, True, "", "", "", 0.0, 0)  # noqa: FBT003 -- cached


def refusal(kernel: Kernel, function: str, said: str | None = "") -> str:
    """Ask for a function that cannot be had."""
    with pytest.raises(RequestError) as error:
        stop_point.find(function, kernel, Symbols.load(kernel.system_map), Gdb(said))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_function_that_is_there(kernel: Kernel) -> None:
    symbols = Symbols.load(kernel.system_map)
    assert stop_point.find("marked", kernel, symbols, Gdb(None)) == (TEXT + 0x30,)


@pytest.mark.parametrize("name", ["", "a; go", "0x12", "f+4", "$(x)", "a b"])
def test_what_is_no_name_goes_to_no_tool(kernel: Kernel, name: str) -> None:
    assert "not a function name; give only the name" in refusal(kernel, name, None)


@pytest.mark.parametrize("said", ["", None], ids=["gdb knows none", "gdb fails"])
def test_a_name_that_nothing_has(kernel: Kernel, said: str | None) -> None:
    assert refusal(kernel, "mraked", said).endswith("similar names: marked")


def test_an_inlined_function_names_those_that_have_it(kernel: Kernel) -> None:
    assert "inlined into caller, marked;" in refusal(kernel, "inline_me", GDB)


def test_a_function_that_the_compiler_renamed(kernel: Kernel) -> None:
    assert "the compiler renamed it to plain.constprop.0" in refusal(kernel, "plain")


def test_a_function_of_the_boot(kernel: Kernel) -> None:
    assert "freed before the guest is up" in refusal(kernel, "early")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("blocked", r"\.noinstr\.text; name one that calls it: caller"),
        ("marked", r"NOKPROBE_SYMBOL.*; name one that calls it: caller"),
        ("early", r"; nothing calls it directly"),
    ],
)
def test_why_kdb_refuses(kernel: Kernel, name: str, why: str) -> None:
    symbols = Symbols.load(kernel.system_map)
    said = stop_point.why_refused([symbols.address(name)], kernel, symbols, "no")
    assert re.search(why, said), said


def test_callers_are_those_with_a_branch(kernel: Kernel) -> None:
    symbols = Symbols.load(kernel.system_map)
    assert callers(kernel, symbols, [symbols.address("blocked")]) == ["caller"]
    assert callers(kernel, symbols, [symbols.address("caller")]) == []
