# SPDX-License-Identifier: GPL-2.0-only
"""The emulator that boots kernels; kstep/machine starts it."""

from __future__ import annotations

from dataclasses import dataclass

from kstep.toolchain.program import Program


@dataclass(frozen=True)
class Emulator:
    """An emulator of arm64 machines."""

    name: str
    program: Program


QEMU = Emulator(name="qemu", program=Program("qemu-system-aarch64", says="QEMU"))
