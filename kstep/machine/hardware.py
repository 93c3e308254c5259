# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a session asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """The machine that a session asks for.

    The default processor has LSE atomics: an exclusive pair never gets through while it
    is stepped, for every exception clears the monitor (Arm ARM, B2.9.5).
    """

    cpus: int = 1
    cpu: str = "cortex-a76"
    el2: bool = False  # the kernel is started at EL2, and stays there (VHE)
    parameters: str = ""  # more of the kernel's command line
    kgdboc: bool = True  # kgdb speaks on the serial line; otherwise its prompts are for others
    waits: bool = False  # the parameters have the boot wait for a debugger
