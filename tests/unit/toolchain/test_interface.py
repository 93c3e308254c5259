# SPDX-License-Identifier: GPL-2.0-only
"""What the programs of a toolchain say of their versions, and where that goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.toolchain import CLANG, COMPILERS, GCC, HostToolchain, Versions, compiler
from kstep.toolchain.compiler import Compiler
from kstep.toolchain.emulator import QEMU, Emulator
from kstep.toolchain.program import Program

if TYPE_CHECKING:
    from collections.abc import Sequence

SAID = """\
aarch64-linux-gnu-gcc (Debian 12.2.0-14) 12.2.0
Copyright (C) 2022 Free Software Foundation, Inc.
GNU ld (GNU Binutils for Debian) 2.40
QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)
GNU gdb (Debian 13.1-3) 13.1
"""


class Says(HostToolchain):
    """A toolchain whose programs say something; ``asked`` is the last command."""

    def __init__(self, said: str) -> None:
        super().__init__("a test")
        self.said = said
        self.asked: list[str] = []

    def text(self, argv: Sequence[str]) -> str:
        """Say it."""
        self.asked = list(argv)
        return self.said


def test_each_program_is_asked_and_found_by_its_own_words() -> None:
    tools = Says(SAID)
    assert tools.versions(GCC, QEMU) == Versions(
        cc="aarch64-linux-gnu-gcc (Debian 12.2.0-14) 12.2.0",
        ld="GNU ld (GNU Binutils for Debian) 2.40",
        emulator="QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)",
        gdb="GNU gdb (Debian 13.1-3) 13.1",
    )
    assert tools.asked[-1] == (
        "aarch64-linux-gnu-gcc --version; aarch64-linux-gnu-ld --version;"
        " qemu-system-aarch64 --version; gdb-multiarch --version"
    )


def test_what_a_kernel_s_key_has_of_the_compiler_stays_as_it_is() -> None:
    """Else every kernel in every cache would be built again."""
    assert Says(SAID).versions().compiler == (
        "aarch64-linux-gnu-gcc (Debian 12.2.0-14) 12.2.0; GNU ld (GNU Binutils for Debian) 2.40"
    )


def test_a_program_that_says_nothing_has_no_version() -> None:
    assert Says("sh: 1: gdb-multiarch: not found\n").versions() == Versions("", "", "", "")


def test_another_compiler_or_emulator_is_a_record() -> None:
    other = Compiler(
        "c", Program("c", says="c version"), Program("l", says="L"), "c", {"LLVM": "1"}
    )
    emulator = Emulator("e", Program("e", says="e version"))
    versions = Says("c version 1\nL 2\ne version 3\n").versions(other, emulator)
    assert versions == Versions("c version 1", "L 2", "e version 3", "")
    assert other.make_arguments == ("CC=ccache c", "HOSTCC=ccache c")


def test_gcc_is_told_to_make_as_ever() -> None:
    assert GCC.make_arguments == ("CC=ccache aarch64-linux-gnu-gcc", "HOSTCC=ccache gcc")
    assert GCC.environment == {"CROSS_COMPILE": "aarch64-linux-gnu-"}


def test_a_compiler_is_found_by_its_name() -> None:
    assert [compiler(name) for name in COMPILERS] == [GCC, CLANG]
    assert CLANG.make_arguments == ("CC=ccache clang", "HOSTCC=ccache clang")
    assert CLANG.environment["LLVM"] == "1"
    with pytest.raises(RequestError, match="--compiler tcc: must be gcc or clang"):
        compiler("tcc")
