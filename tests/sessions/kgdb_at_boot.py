# SPDX-License-Identifier: GPL-2.0-only
"""Can a boot be debugged?

Claim: a debugging patch must not break kgdb during boot: `kgdbwait`, with breakpoints in the
code that follows, some of it in memory that is freed soon; `kgdboc_earlycon`, which stops
before the serial line has a driver and hands over to kgdboc; and `kgdbts` with `kgdbwait`,
which drivers/misc/kgdbts.c asks for. kgdbtest tests all of them, and expects the last one to
fail on arm64: "Unexpected kernel single-step exception at EL1".

Measured: where the boot stops, against the stack in memory; that a breakpoint on the way is
hit; that the guest boots, and kdb then works and lists its breakpoints.

Refuted by no stop (`missed-hits`), a stop elsewhere (`off-order`), a wrong stack or value
(`wrong-result`), a guest that does not boot (`hang`), a splat (`splat`, `step-flood`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.session.checks import Boot, must, must_be
from kstep.session.session import session
from tests.session_parts.kdb_memory import CONSTANT, shown, true

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.session.target import Target

LATER = "kernel_execve"  # fs/exec.c: the kernel executes init
FREED = "kdb_init"  # kernel/debug/kdb/kdb_main.c: __init, has run when the boot stops
NEVER = "panic"
# kgdbts ends after a hundred forks, some of them during boot.
FORK_ON = (
    "until dmesg | grep -q 'Unregistered I/O driver kgdbts'; do"
    " for i in $(seq 20); do (:); done; done"
)
LONG = 30.0  # seconds


def must_be_in(target: Target, kdb: Kdb, caller: str) -> None:
    """Check where the boot stopped: the stack, and a function near its bottom."""
    text = kdb.command("bt")
    target.must_show_stack(text, kdb.registers())
    must(f" {caller}+" in text, f"{caller}() is not on the stack of the stop")


def kgdbwait(target: Target) -> None:
    """The boot waits; breakpoints set then are hit only if the code is reached."""
    with target.coming_up() as stop:
        kdb = target.kdb
        must_be(stop.pid, 1, "the task that boots")
        must_be_in(target, kdb, "kernel_init")
        never, freed, later = (kdb.breakpoint(name) for name in (NEVER, FREED, LATER))
        target.go()
        target.expect_breakpoint(later)
        must_be_in(target, kdb, "ret_from_fork")
        kdb.clear(later)
        target.go()
    with target.in_kdb() as kdb:
        listed = kdb.command("bl")
        must(all(f"0x{each.address:x} " in listed for each in (never, freed)), f"bl: {listed!r}")
        kdb.clear(never)
        kdb.clear(freed)
    target.must_tick()


def earlycon(target: Target) -> None:
    """The boot waits before the serial line has a driver, and kdb uses the driver later."""
    with target.coming_up() as stop:
        kdb = target.kdb
        must_be(stop.pid, 0, "the task that boots")
        must_be_in(target, kdb, "start_kernel")
        start = kdb.address(CONSTANT)
        must_be(shown(kdb.command(f"md8c4 {CONSTANT}"), 8), true(target, start, 4, 8), "md")
        later = kdb.breakpoint(LATER)
        target.go()
        target.expect_breakpoint(later)
        kdb.clear(later)
        target.go()
    must("with kgdboc" in target.run("dmesg | grep KGDB:").heard, "kgdboc did not take over")
    with target.in_kdb() as kdb:
        must_be(shown(kdb.command(f"md8c4 {CONSTANT}"), 8), true(target, start, 4, 8), "md")
    target.must_tick()


def kgdbts(target: Target) -> None:
    """The kernel's own test of kgdb passes at boot, and in the background afterwards."""
    target.run(FORK_ON, LONG)
    target.run("echo ttyAMA0 > /sys/module/kgdboc/parameters/kgdboc")
    target.must_tick()


BOOTS = (
    Boot(kgdbwait, Hardware(parameters="kgdbwait", waits=True)),
    Boot(earlycon, Hardware(parameters="earlycon kgdboc_earlycon kgdbwait", waits=True)),
    Boot(kgdbts, Hardware(parameters="kgdbts=V1F100 kgdbwait", kgdboc=False)),
)


@session(
    claim="A boot can be debugged, and then completes.",
    cases=BOOTS,
    requires={Capability.MEMORY_PAST_KERNEL: "it compares what kdb shows with memory"},
    area="kdb and gdb",
)
def kgdb_at_boot(target: Target, boot: Boot) -> None:
    """Run one check."""
    boot.run(target)
