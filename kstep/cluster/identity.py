# SPDX-License-Identifier: GPL-2.0-only
"""What must be equal on two machines for their results to go into one record.

The code, and the programs that build and boot kernels: two workers that differ in one of them
could give the same cell different results.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.toolchain import Toolchain, Versions

# What runs in a build or a boot, and the packages below it.
CODE = ("kstep/**/*", "tests/session_parts/*.py", "requirements*.lock")
# In a worker's environment, as the options: --toolchain, --compiler, --suite.
TOOLCHAIN, COMPILERS, SUITE = "KSTEP_TOOLCHAIN", "KSTEP_COMPILER", "KSTEP_SUITE"
DIGITS = 12  # hexadecimal, of each hash


@dataclass(frozen=True)
class Identity:
    """A kstep and its toolchain; ``code`` and ``tools`` are hashes, ``kind`` the toolchain's.

    The tools are those of a boot. A compiler's version is compared when it is to build.
    """

    code: str
    tools: str
    kind: str

    @classmethod
    def of(cls, root: Path, toolchain: Toolchain, versions: Versions) -> Identity:
        """Identify this kstep, whose folder is ``root``."""
        code = hashlib.sha256(f"{sys.version_info[:2]}\n".encode())
        for pattern in CODE:
            for path in sorted(root.glob(pattern)):
                if path.is_file() and "__pycache__" not in path.parts:
                    content = path.read_bytes()
                    name = path.relative_to(root).as_posix()
                    code.update(f"{name} {len(content)}\n".encode() + content)
        said = f"{versions.emulator}\n{versions.gdb}"
        tools = hashlib.sha256(f"{toolchain.debian}\n{said}".encode())
        return cls(code.hexdigest()[:DIGITS], tools.hexdigest()[:DIGITS], toolchain.kind)

    @classmethod
    def parse(cls, text: str) -> Identity | None:
        """Read what str() gave; None if it is something else."""
        word, *parts = text.split(":")
        return cls(*parts) if word == "kstep" and len(parts) == 3 else None  # noqa: PLR2004 -- fields

    def __str__(self) -> str:
        return f"kstep:{self.code}:{self.tools}:{self.kind}"

    def differs(self, other: Identity) -> str:
        """Say how another one differs from this; "" if it does not."""
        if other.code != self.code:
            return f"has another kstep ({other.code}, not {self.code}): update it, and restart it"
        if other.kind != self.kind:
            fix = f"start it with --toolchain {self.kind}"
            return f"has toolchain {other.kind}, not {self.kind}: {fix}"
        if other.tools != self.tools:
            return "has another QEMU, gdb or suite: rebuild its toolchain's image, or use --suite"
        return ""
