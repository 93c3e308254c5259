# SPDX-License-Identifier: GPL-2.0-only
"""What a machine can do beyond running the kernel with a serial line.

A session states what it needs and why, a kind of machine what it can do, and ``run.skip``
compares the two. Every machine can read memory while kdb has the line, by kdb's commands if
there is no better way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Capability(StrEnum):
    """One thing that some machines can do; its value describes it."""

    MEMORY_PAST_KERNEL = "reading memory without the kernel's help"
    MEMORY_WITHOUT_KDB = "reading memory while kdb does not have the line (under gdb)"
    PHYSICAL_MEMORY = "reading physical memory"
    EXECUTION_LOG = "logging what the guest executes"
    EXECUTION_RECORD = "recording each instruction of a step"
    GDBSTUB = "the machine's own gdbstub"
    GDBSTUB_BY_KVM = "a gdbstub that steps by the guest CPU's step bit (KVM)"
    GDBSTUB_MASKS = "a gdbstub that can mask interrupts during a step"
    BREAK = "BREAK on the serial line"
    VISIBLE_RESET = "noticing that the guest resets the machine"
    PROCESSORS = "any number of CPUs"
    CPU_MODEL = "another CPU model"
    EL2 = "starting the kernel at EL2"
    PARAMETERS = "the session's own kernel parameters"
    DILATION = "a guest clock that is slower than the CPU's"
    FRESH_BOOT = "a fresh boot for each session"


@dataclass(frozen=True)
class Offer:
    """What one kind of machine, called ``name``, can do.

    ``lacks`` says why it does not have a capability.
    """

    name: str
    capabilities: frozenset[Capability]
    lacks: Mapping[Capability, str] = field(default_factory=dict)

    def why_not(self, requires: Mapping[Capability, str]) -> str | None:
        """Say why a required capability (capability: reason) is missing; None if none is."""
        for capability, reason in requires.items():
            if capability not in self.capabilities:
                return f"{reason}; {self.lack(capability)}"
        return None

    def lack(self, capability: Capability) -> str:
        """Say why it does not have a capability."""
        return self.lacks.get(capability, f"this machine cannot do that: {capability}")
