# SPDX-License-Identifier: GPL-2.0-only
"""The compilers for kernels.

Another compiler is another record like GCC and CLANG. The versions that its programs print go
into a kernel's key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import RequestError
from kstep.toolchain.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping

CROSS = "aarch64-linux-gnu-"  # the prefix of Debian's binutils and gcc for arm64


@dataclass(frozen=True)
class Compiler:
    """A cross compiler for arm64, with its linker.

    ``environment`` is how a kernel's make and Kconfig's scripts find them; ``host`` compiles the
    programs that a build runs. ``packages`` are Debian's, apart from those that every toolchain
    has; ``option`` is the option that Kconfig sets for it.
    """

    name: str
    cc: Program
    ld: Program
    host: str
    environment: Mapping[str, str]
    option: str = ""
    packages: tuple[str, ...] = ()

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
    option="CONFIG_CC_IS_GCC",
)
# All of LLVM's tools, as in Documentation/kbuild/llvm.rst. 5.10 needs LLVM_IAS, and the target's
# name from CROSS_COMPILE.
CLANG = Compiler(
    name="clang",
    cc=Program("clang", says="Debian clang"),
    ld=Program("ld.lld", says="Debian LLD"),
    host="clang",
    environment={"LLVM": "1", "LLVM_IAS": "1", "CROSS_COMPILE": CROSS},
    option="CONFIG_CC_IS_CLANG",
    packages=("clang", "lld", "llvm"),
)
COMPILERS = {each.name: each for each in (GCC, CLANG)}


def compiler(name: str) -> Compiler:
    """Return a compiler by its name; raises RequestError if there is none."""
    if name not in COMPILERS:
        raise RequestError(f"--compiler {name}: must be {' or '.join(COMPILERS)}")
    return COMPILERS[name]
