# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a session needs."""

from __future__ import annotations

from dataclasses import dataclass

from kstep.machine.capability import Capability


@dataclass(frozen=True)
class Hardware:
    """The machine that a session needs.

    The default CPU has LSE atomics, because an exclusive pair never succeeds while it is stepped:
    every exception clears the monitor (Arm ARM, B2.9.5).
    """

    cpus: int = 1
    cpu: str = "cortex-a76"
    el2: bool = False  # the kernel is started at EL2, and stays there (VHE)
    parameters: str = ""  # appended to the kernel's command line
    kgdboc: bool = True  # kgdb uses the serial line from the start
    waits: bool = False  # the parameters make the boot wait for a debugger
    recorded: bool = False  # what is executed between two stops is recorded

    def can_serve_next(self, wanted: Hardware) -> bool:
        """Whether a machine that has served a cell can serve another that wants this hardware.

        A boot that waits for a debugger is over once it has been continued.
        """
        return self == wanted and not wanted.waits

    @property
    def requires(self) -> dict[Capability, str]:
        """The capabilities that this machine needs, and why."""
        found: dict[Capability, str] = {}
        if self.cpus != Hardware.cpus:
            found[Capability.PROCESSORS] = f"it needs {self.cpus} CPUs"
        if self.cpu != Hardware.cpu:
            found[Capability.CPU_MODEL] = f"it needs a {self.cpu}"
        if self.el2:
            found[Capability.EL2] = "it needs a kernel at EL2"
        if self.parameters or self.waits or not self.kgdboc:
            asked = self.parameters or "no kgdboc="
            found[Capability.PARAMETERS] = f"it sets the kernel's command line: {asked}"
        if self.recorded:
            found[Capability.EXECUTION_RECORD] = "it needs a record of each executed instruction"
        return found
