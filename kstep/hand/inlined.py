# SPDX-License-Identifier: GPL-2.0-only
"""Where a function's code begins, be it inlined: what the debug information knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError

if TYPE_CHECKING:
    from kstep.build.kernel import Kernel
    from kstep.toolchain import Toolchain

LOCATION = re.compile(r"^\d+(?:\.\d+)?\s.*?\b0x(?P<address>[0-9a-f]{16})\b")


def copies(kernel: Kernel, function: str, toolchain: Toolchain) -> tuple[int, ...]:
    """Return where the code of a function begins, in itself and in others; empty for none.

    gdb is asked where it would break, for it reads the debug information of one function
    faster than all of it could be read. Empty too where gdb fails: the answer only helps
    to say what to name instead.
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
