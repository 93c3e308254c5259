# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel is built from and with; variants of the same setup are compared."""

from __future__ import annotations

from dataclasses import dataclass

COMPILER = "gcc"  # the one that no column names


@dataclass(frozen=True)
class Setup:
    """A tree, a kconfig, the compiler, and the Debian suite of compiler and emulator.

    ``suite`` is empty if none was asked for: then they are those of the toolchain.
    """

    tree: str
    kconfig: str
    compiler: str = COMPILER
    suite: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """Its names, without those that are as usual; the order of setups in reports."""
        further = ("" if self.compiler == COMPILER else self.compiler, self.suite)
        return (self.tree, self.kconfig, *filter(None, further))

    @property
    def name(self) -> str:
        """The parts in one word, which begins a column: ``debian:6.1/base/clang/trixie``."""
        return "/".join(self.parts)

    @property
    def title(self) -> str:
        """The parts for people, on one line."""
        return f"{self.tree}, kconfig {', '.join(self.parts[1:])}"
