# SPDX-License-Identifier: GPL-2.0-only
"""Addresses of a function's code, inlined copies included, from the debug information."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError

if TYPE_CHECKING:
    from kstep.build.kernel import Kernel
    from kstep.toolchain import Toolchain

LOCATION = re.compile(r"^\d+(?:\.\d+)?\s.*?\b0x(?P<address>[0-9a-f]{16})\b")


def copies(kernel: Kernel, function: str, toolchain: Toolchain) -> tuple[int, ...]:
    """Return the addresses of a function's code, inlined copies included; empty if none.

    gdb says where it would break, because it reads the debug information of one function faster
    than we could read all of it. Also empty if gdb fails: the answer only helps to say what to
    name instead.
    """
    argv = ["gdb-multiarch", "-nx", "-batch", "-ex", "set breakpoint pending off"]
    argv += ["-ex", f"break -function {function}", "-ex", "info breakpoints", str(kernel.vmlinux)]
    said: list[str] = []
    try:
        toolchain.run(argv, cwd=kernel.folder, readable=[kernel.folder], on_line=said.append)
    except MachineryError:
        return ()
    found = (LOCATION.match(line) for line in said)
    return tuple(int(match["address"], 16) for match in found if match)
