# SPDX-License-Identifier: GPL-2.0-only
"""Do kdb's commands still work?

Claim: a patch for single-stepping must not break the rest of kdb. kgdbtest, by Daniel
Thompson, who maintains kdb, compares the format of what commands print; kstep compares the
values with another source, and looks from outside at what they change.

Measured: one check for each command or two, each with its claim, in
tests/session_parts/kdb_*.py: what kdb shows against System.map, memory that QEMU reads
without the kernel's help, and the guest's /proc.

Refuted by a wrong value (`wrong-result`), a breakpoint that is not hit or hit too often
(`missed-hits`, `off-order`), a splat (`splat`), or a prompt that does not come back (`hang`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.machine.capability import Capability
from kstep.session.session import session
from tests.session_parts import kdb_breakpoints, kdb_memory, kdb_system, kdb_tasks

if TYPE_CHECKING:
    from kstep.session.checks import Check
    from kstep.session.target import Target


@session(
    claim="kdb's commands show true values and change what they claim to change.",
    cases=(
        *kdb_breakpoints.CHECKS,
        *kdb_memory.CHECKS,
        *kdb_tasks.CHECKS,
        *kdb_system.CHECKS,
    ),
    needs=("CONFIG_MODULES", "CONFIG_KGDB_HONOUR_BLOCKLIST"),
    requires={
        Capability.MEMORY_PAST_KERNEL: "it compares what kdb shows with memory",
        Capability.PHYSICAL_MEMORY: "it looks for breakpoints in memory while the guest runs",
    },
    area="kdb and gdb",
)
def kdb_commands(target: Target, check: Check) -> None:
    """Run one check."""
    check.run(target)
