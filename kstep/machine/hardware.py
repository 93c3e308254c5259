# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a session needs."""

from __future__ import annotations

from dataclasses import dataclass

from kstep.base.document import nearest
from kstep.base.errors import RequestError
from kstep.machine.capability import Capability

MOST_CPUS = 8
# QEMU's models of 64-bit CPUs for the virt machine, in each version from 7.2 on (hw/arm/virt.c).
MODELS = (
    "a64fx",
    "cortex-a35",
    "cortex-a53",
    "cortex-a57",
    "cortex-a72",
    "cortex-a76",
    "max",
    "neoverse-n1",
)
WAITS = "kgdbwait"  # the boot waits for a debugger (opt_kgdb_wait() in kernel/debug/debug_core.c)


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
    waits: bool = False  # the boot waits for a debugger; with kgdbwait, kgdbts may be that
    recorded: bool = False  # what is executed between two stops is recorded
    dilation: int = 1  # how many times slower the guest's clock is: its CPU seems as much faster
    dilation_required: bool = True  # without, the clock is slowed where it can be: emulated hosts

    @classmethod
    def of(cls, cpus: int, cpu: str, parameters: str) -> Hardware:
        """Return the machine that a user asks for; an empty ``cpu`` is the default model.

        Raises RequestError for what no machine has.
        """
        if not 1 <= cpus <= MOST_CPUS:
            raise RequestError(f"--cpus {cpus}: must be 1 to {MOST_CPUS}")
        if cpu and cpu not in MODELS:
            raise RequestError(f'--cpu "{cpu}": is not a model of QEMU\'s; {nearest(cpu, MODELS)}')
        if not parameters.isprintable():
            raise RequestError(f"--parameters {parameters!r}: give one line")
        return cls(
            cpus=cpus,
            cpu=cpu or cls.cpu,
            parameters=" ".join(parameters.split()),
            waits=WAITS in parameters.split(),
        )

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
        if self.dilation != 1 and self.dilation_required:
            found[Capability.DILATION] = f"it needs a guest's clock slowed {self.dilation} times"
        if self.recorded:
            found[Capability.EXECUTION_RECORD] = "it needs a record of each executed instruction"
        return found
