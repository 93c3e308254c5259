# SPDX-License-Identifier: GPL-2.0-only
"""Where a function's code begins, as gdb tells it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.build.kernel import Kernel
from kstep.hand.inlined import copies
from kstep.toolchain import CommandError
from tests.unit.fakeqemu import FakeToolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KERNEL = Kernel("k", Path("/kernels/k"), True, "", "", "", 0.0, 0)  # noqa: FBT003 -- cached

ONE = """\
Breakpoint 1 at 0xffff800008012340: file /source/fs/namei.c, line 4000.
Num     Type           Disp Enb Address            What
1       breakpoint     keep y   0xffff800008012340 in vfs_mkdir at /source/fs/namei.c:4000
"""
SEVERAL = """\
Breakpoint 1 at 0xffff800008000004: do_it. (3 locations)
Num     Type           Disp Enb Address            What
1       breakpoint     keep y   <MULTIPLE>
1.1                         y   0xffff800008000004 in do_it at /source/a.c:7
1.2                         y   0xffff800008000034 in do_it at /source/a.c:7 inf 1
1.10                        y   0xffff800008000054 in do_it at /source/0xdeadbeefdeadbeef.c:7
"""
NONE = """\
Function "nothing" not defined.
No breakpoints or watchpoints.
"""


class Gdb(FakeToolchain):
    """A toolchain that says what gdb did, or fails; it keeps what was asked."""

    def __init__(self, said: str | None) -> None:
        super().__init__(Path())
        self.said = said
        self.asked: list[Sequence[str]] = []

    def run(self, argv: Sequence[str], *, on_line: Callable[[str], None], **_: object) -> None:  # type: ignore[override]
        """Say it."""
        self.asked.append(argv)
        if self.said is None:
            raise CommandError(argv, 1, [])
        for line in self.said.splitlines():
            on_line(line)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (ONE, (0xFFFF_8000_0801_2340,)),
        (SEVERAL, (0xFFFF_8000_0800_0004, 0xFFFF_8000_0800_0034, 0xFFFF_8000_0800_0054)),
        (NONE, ()),
        ("", ()),
        (None, ()),
    ],
    ids=["one", "several", "none", "gdb says nothing", "gdb fails"],
)
def test_each_place_once(said: str | None, found: tuple[int, ...]) -> None:
    assert copies(KERNEL, "f", Gdb(said)) == found


def test_what_gdb_is_asked() -> None:
    """For a function of that name alone, and with nothing of the user's read first."""
    gdb = Gdb(NONE)
    copies(KERNEL, "do_it", gdb)
    [asked] = gdb.asked
    assert asked[:3] == ["gdb-multiarch", "-nx", "-batch"]
    assert "break -function do_it" in asked
    assert asked[-1] == "/kernels/k/vmlinux"
