# SPDX-License-Identifier: GPL-2.0-only
"""Source lines of a kernel's addresses, from its debug information."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.image.symbols import Symbols
from kstep.results.trace import addresses, write_lines
from kstep.toolchain import CROSS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kstep.build.kernel import Kernel
    from kstep.toolchain import Toolchain

SOURCE = re.compile(r".*?/source/")  # the path of the kernel's tree before a file's name


def source_lines(kernel: Kernel, wanted: Sequence[int], toolchain: Toolchain) -> dict[int, str]:
    """Return ``file:line`` by address; empty if the toolchain fails."""
    said: list[str] = []
    argv = [f"{CROSS}addr2line", "-e", str(kernel.vmlinux), *map(hex, wanted)]
    try:
        toolchain.run(argv, cwd=kernel.folder, readable=[kernel.folder], on_line=said.append)
    except MachineryError:
        return {}  # a path without source lines is still useful
    plain = (SOURCE.sub("", line).removesuffix("?").partition(" (")[0] for line in said)
    return {
        address: line.removeprefix("./")
        for address, line in zip(wanted, plain, strict=False)
        if not line.startswith("??")
    }


def source_folder(kernel: Kernel, toolchain: Toolchain) -> str:
    """Return the folder of a kernel's source when it was compiled."""
    start = Symbols.load(kernel.system_map).address("start_kernel")  # of init/main.c
    said: list[str] = []
    argv = [f"{CROSS}addr2line", "-e", str(kernel.vmlinux), f"{start:#x}"]
    toolchain.run(argv, cwd=kernel.folder, readable=[kernel.folder], on_line=said.append)
    return "".join(said).partition("/init/main.c")[0]


def keep(kernel: Kernel, traces: Iterable[Path], file: Path, toolchain: Toolchain) -> None:
    """Write to ``file`` the source lines of all addresses in traces; no file if there are none."""
    stepped = sorted({address for trace in traces for address in addresses(trace)})
    if stepped:
        write_lines(file, source_lines(kernel, stepped, toolchain))
