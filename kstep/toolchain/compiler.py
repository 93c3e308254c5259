# SPDX-License-Identifier: GPL-2.0-only
"""The compilers for kernels.

Another compiler is another record like GCC. The versions that its programs print go into a
kernel's key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.toolchain.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping

CROSS = "aarch64-linux-gnu-"  # the prefix of Debian's binutils and gcc for arm64


@dataclass(frozen=True)
class Compiler:
    """A cross compiler for arm64, with its linker.

    ``environment`` is how a kernel's make and Kconfig's scripts find them; ``host`` compiles the
    programs that a build runs.
    """

    name: str
    cc: Program
    ld: Program
    host: str
    environment: Mapping[str, str]

    @property
    def make_arguments(self) -> tuple[str, ...]:
        """The arguments of a kernel's make, which make it compile through ccache."""
        return (f"CC=ccache {self.cc.name}", f"HOSTCC=ccache {self.host}")


GCC = Compiler(
    name="gcc",
    cc=Program(f"{CROSS}gcc", says=f"{CROSS}gcc"),
    ld=Program(f"{CROSS}ld", says="GNU ld"),
    host="gcc",
    environment={"CROSS_COMPILE": CROSS},
)
