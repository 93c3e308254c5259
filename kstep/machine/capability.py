# SPDX-License-Identifier: GPL-2.0-only
"""What a machine can do beyond carrying the kernel and its serial line.

A session states what it needs and why, a kind of machine what it has, and ``run.skip``
compares the two. Every machine reads memory while kdb has the line: by kdb, if by nothing
better.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Capability(StrEnum):
    """One thing that some machines can do; its value names it for people."""

    MEMORY_PAST_KERNEL = "reading memory without the kernel's help"
    MEMORY_WITHOUT_KDB = "reading memory while kdb does not have the line, as under gdb"
    PHYSICAL_MEMORY = "reading physical memory"
    EXECUTION_LOG = "logging what the guest executes"
    GDBSTUB = "a gdbstub of the machine's own"
    GDBSTUB_MASKS = "a gdbstub that can hold interrupts back while it steps"
    BREAK = "BREAK on the serial line"
    VISIBLE_RESET = "telling that the guest resets the machine"
    PROCESSORS = "any number of processors"
    CPU_MODEL = "another processor model"
    EL2 = "starting the kernel at EL2"
    PARAMETERS = "kernel parameters of the session's own"
    FRESH_BOOT = "a fresh boot for each session"


@dataclass(frozen=True)
class Offer:
    """What one kind of machine can do: ``name`` is how people call it.

    ``lacks`` says why it cannot do what is not among its ``capabilities``.
    """

    name: str
    capabilities: frozenset[Capability]
    lacks: Mapping[Capability, str] = field(default_factory=dict)

    def why_not(self, requires: Mapping[Capability, str]) -> str | None:
        """Say why what is required (capability: reason) cannot be had; None if all can."""
        for capability, reason in requires.items():
            if capability not in self.capabilities:
                return f"{reason}; {self.lack(capability)}"
        return None

    def lack(self, capability: Capability) -> str:
        """Say why it cannot do something."""
        return self.lacks.get(capability, f"this machine cannot do that: {capability}")
