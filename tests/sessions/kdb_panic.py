# SPDX-License-Identifier: GPL-2.0-only
"""Does a panic enter kdb, and can kdb reboot the machine after it?

Claim: a debugging patch must not break kdb's main purpose: a kernel that panics stops in kdb,
can be inspected, completes the panic after `go`, and reboots on command. kgdbtest lists
entry on panic among its missing tests.

Measured: the stop and its stack, against memory; the log; that `go` completes the panic,
after which a BREAK on the serial line still enters kdb; and that `reboot` resets the
machine, as QEMU reports it.

Refuted by no stop or no end (`hang`), a wrong stack (`wrong-result`), a machine that is not
reset (`hang`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.console.kdb import KEYBOARD
from kstep.machine.capability import Capability
from kstep.session.checks import Check, must
from kstep.session.session import Unless, session

if TYPE_CHECKING:
    from kstep.session.target import Target

PANIC = "Kernel panic - not syncing: sysrq triggered crash"


def panic(target: Target) -> None:
    """A panic stops in kdb, ends after `go`, and `reboot` resets the machine."""
    kdb = target.kdb
    with target.provoking(PANIC):
        target.crash("echo c > /proc/sysrq-trigger", KEYBOARD)
    text = kdb.command("bt")
    target.must_show_stack(text, kdb.registers())
    for function in ("panic+", " __handle_sysrq+", " __arm64_sys_write+"):  # or vpanic
        must(function in text, f"{function!r} is not on the stack of the panic")
    with target.provoking(PANIC):
        must(PANIC in kdb.command('dmesg 99 | grep "sysrq trig"'), "the log has no panic")
    must("sysname    Linux" in kdb.command("summary"), "summary does not answer")
    with target.provoking(f"end {PANIC}"):
        target.go()
        target.await_line(f"end {PANIC} ]---")
    target.break_in()
    target.reboot()


@session(
    claim="A panic stops in kdb, and kdb can reboot the machine.",
    requires={
        Capability.BREAK: "it enters kdb by BREAK after the panic",
        Capability.VISIBLE_RESET: "it must see that `reboot` resets the machine",
        Capability.FRESH_BOOT: "it panics",
    },
    # kernel/printk/printk.c: force_legacy_kthread()
    unless=(
        Unless("CONFIG_PREEMPT_RT", "the console prints from a thread, so not before kdb has it"),
    ),
    area="kdb and gdb",
)
def kdb_panic(target: Target) -> None:
    """Panic, inspect, go on, enter kdb again, reboot."""
    Check(panic).run(target)
