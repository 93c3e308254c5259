# SPDX-License-Identifier: GPL-2.0-only
"""Does kdb stop a CPU that spins with interrupts off, or say that it cannot?

Claim: with pseudo-NMI it stops such a CPU, since 6.7 (2f5cd0c7ffde, "arm64: kgdb: Implement
kgdb_roundup_cpus() to enable pseudo-NMI roundup"), and shows what it runs; without, or before, it
says that the CPU is missing. A debugging patch must not change that.

Measured on two CPUs: one is sent into LKDTM's HARDLOCKUP, which turns interrupts off and loops; kdb
is entered on the other, by sysrq-g: what it prints, what `cpu` and `btc` show, and 30 steps.

Refuted by a CPU that is missing without a word, or is there and not shown (`wrong-result`); by one
that is missing with pseudo-NMI from 6.7 on (`missed-hits`); and by a step that leaves program
order, as in step-in-order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import KEYBOARD
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.session.checks import must, must_be
from kstep.session.commands import SYSRQ_G
from kstep.session.session import BY_NIGHT, session

if TYPE_CHECKING:
    from kstep.session.target import Target

SPIN = "echo HARDLOCKUP > /sys/kernel/debug/provoke-crash/DIRECT"
SPINS = "lkdtm_HARDLOCKUP"  # drivers/misc/lkdtm/bugs.c
# kernel/debug/debug_core.c; kernel/debug/kdb/kdb_main.c, at the prompt and at `go`
MISSING = "Timed out waiting for secondary CPUs."
CATASTROPHIC = "Catastrophic error detected"
NO_TASK = "WARNING: no task for cpu"  # kernel/debug/kdb/kdb_bt.c, by btc
SINCE = (6, 7)


@dataclass(frozen=True)
class Mask:
    """How interrupts are turned off."""

    name: str
    hardware: Hardware


@session(
    claim="kdb stops a CPU that spins with interrupts off, if it has NMIs, or says that it cannot.",
    cases=(
        Mask("masked", Hardware(cpus=2)),
        Mask("by_priority", Hardware(cpus=2, parameters="irqchip.gicv3_pseudo_nmi=1")),
    ),
    needs=("CONFIG_LKDTM",),
    requires={Capability.FRESH_BOOT: "it loses a CPU"},
    unsettled=BY_NIGHT,
    area="kdb and gdb",
)
def kdb_spinning(target: Target, mask: Mask) -> None:
    """Enter kdb while another CPU spins, and look for it."""
    has_nmis = mask.name == "by_priority" and target.version() >= SINCE
    target.run("taskset -p 1 $$")  # the shell must not be where the other CPU's tasks wait
    with target.excusing(MISSING, CATASTROPHIC, NO_TASK) as heard:
        target.crash(f"taskset 2 sh -c '{SPIN}' & sleep 1; {SYSRQ_G}", KEYBOARD)
        cpus = target.kdb.command("cpu").partition("Available")[2]
        running = target.kdb.command("btc")
        # A console that prints from a thread, as that of 7.2, is silent while kdb has the CPU.
        target.kdb.command("dmesg 8")  # fewer lines than the pager stops after
    missing = "D" in cpus
    target.metrics["missing"] = missing
    must_be(
        bool(heard[MISSING]),
        missing,
        f"that a CPU is missing, by the log; cpu shows {cpus.strip()!r}",
    )
    if has_nmis and missing:
        raise KernelFault(
            Signature.MISSED_HITS, f"a CPU that NMIs reach is missing: {cpus.strip()!r}"
        )
    must(missing or SPINS in running, f"{SPINS}() is not on the stack of any CPU")
    if not missing:
        for step in target.steps_to_a_return(30):
            step.must_follow_program_order()
