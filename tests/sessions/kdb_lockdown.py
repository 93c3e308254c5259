# SPDX-License-Identifier: GPL-2.0-only
"""Does the debugger keep to the kernel's lockdown?

Claim: a debugging patch must not open what lockdown has closed (man kernel_lockdown). Integrity
takes from kdb what writes memory and registers and what steers the kernel, confidentiality
what reads them too (kdb_check_for_lockdown() in kernel/debug/kdb/kdb_main.c), and gdb is
let in no more: where it had the line, kdb has it at the next stop (kgdb_cpu_enter() in
kernel/debug/debug_core.c). kgdbtest sees a kernel without kdb that gdb cannot stop at boot.

Measured: with lockdown= on the command line, while the boot waits, and with lockdown raised by
way of securityfs between two stops, the second of which gdb was to have: the commands of each
group, what kdb.cmd_enable says and cannot say, and what is written to memory.

Refuted by a command that is taken and should not be, or the other way round (`wrong-result`),
or by a stop that kdb does not have (`hang`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.console.kdb import KEYBOARD
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.session.checks import Boot, must, must_be
from kstep.session.session import session
from tests.session_parts.kdb_groups import (
    ALL,
    FLOW,
    INSPECT,
    NO,
    PARAMETER,
    READ,
    REBOOT,
    REG_READ,
    REG_WRITE,
    SAFE,
    SIGNAL,
    WRITE,
    must_keep_to,
)

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.session.target import Target

EVERYTHING = READ | WRITE | REG_READ | REG_WRITE | INSPECT | FLOW | SIGNAL | REBOOT | SAFE
WITH_INTEGRITY = EVERYTHING & ~(WRITE | REG_WRITE | FLOW)
WITH_CONFIDENTIALITY = WITH_INTEGRITY & ~(READ | REG_READ)
# What a gdb says when it comes; kdb_read() in kernel/debug/kdb/kdb_io.c knows them.
GREETINGS = (b"$?#3f", b"$qSupported")
MOUNT = "mount -t securityfs securityfs /sys/kernel/security"
LEVEL = "/sys/kernel/security/lockdown"
VARIABLE, FILE = "panic_timeout", "/proc/sys/kernel/panic"


def number(target: Target, file: str) -> int:
    """Return the number that a file of the guest's holds."""
    return target.run(f"echo held=$(cat {file})").figures["held"]


def must_be_locked(target: Target, groups: int) -> None:
    """Check that kdb keeps to some groups, whatever kdb.cmd_enable is told to allow."""
    with target.in_kdb() as kdb:
        must_keep_to(kdb, groups)
        must_refuse_gdb(kdb)
    must_be(number(target, PARAMETER), groups, PARAMETER)
    for asked, left in ((ALL, groups), (EVERYTHING, groups), (WRITE | FLOW | SIGNAL, SIGNAL)):
        target.run(f"echo {asked} > {PARAMETER}")
        with target.in_kdb() as kdb:
            must_keep_to(kdb, left)
    target.run(f"echo {ALL} > {PARAMETER}")
    target.must_tick()


def must_refuse_gdb(kdb: Kdb) -> None:
    """Check that kdb stays where a gdb would have the line."""
    for greeting in GREETINGS:
        said = kdb.press(greeting).string.decode(errors="replace")
        must(NO in said, f"{greeting.decode()} comes to {said!r}")


def integrity(target: Target) -> None:
    """lockdown=integrity: kdb shows memory and registers and changes nothing."""
    must_be_locked(target, WITH_INTEGRITY)


def confidentiality(target: Target) -> None:
    """lockdown=confidentiality: kdb does not show them either."""
    must_be_locked(target, WITH_CONFIDENTIALITY)


def boot(target: Target) -> None:
    """A boot that waits for a debugger waits in kdb, with what lockdown leaves it."""
    with target.coming_up():
        must_keep_to(target.kdb, WITH_INTEGRITY)
        must_refuse_gdb(target.kdb)
        target.go()
    must_be_locked(target, WITH_INTEGRITY)


def while_running(target: Target) -> None:
    """Raised between two stops, lockdown holds at the second, which gdb was to have."""
    target.run(MOUNT)
    before = number(target, FILE)
    with target.in_kdb() as kdb:
        place = kdb.address(VARIABLE)
        must_be(kdb.refusal(f"mm4 {place:#x} {before + 1:#x}"), "", "mm before it is locked")
    must_be(number(target, FILE), before + 1, VARIABLE)
    with target.running("echo g > /proc/sysrq-trigger"):
        target.expect_stop(KEYBOARD)
        with target.in_gdb(detach=True) as gdb:
            must_be(gdb.value(VARIABLE), before + 1, f"{VARIABLE} in gdb")
    target.run(f"echo integrity > {LEVEL}")
    with target.in_kdb() as kdb:
        must_be(kdb.refusal(f"mm4 {place:#x} {before + 2:#x}"), NO, "mm")
    must_be(number(target, FILE), before + 1, f"{VARIABLE}, locked")
    must_be_locked(target, WITH_INTEGRITY)
    target.run(f"echo confidentiality > {LEVEL}")
    must_be_locked(target, WITH_CONFIDENTIALITY)
    target.run(f"! echo none > {LEVEL}")
    must_be_locked(target, WITH_CONFIDENTIALITY)


BOOTS = (
    Boot(integrity, Hardware(parameters="lockdown=integrity")),
    Boot(confidentiality, Hardware(parameters="lockdown=confidentiality")),
    Boot(boot, Hardware(parameters="lockdown=integrity kgdbwait", waits=True)),
    Boot(while_running, Hardware()),
)


@session(
    claim="kdb and kgdb keep to the kernel's lockdown.",
    cases=BOOTS,
    needs=("CONFIG_SECURITY_LOCKDOWN_LSM", "CONFIG_SECURITYFS"),
    requires={Capability.FRESH_BOOT: "it locks the kernel down until the next boot"},
    area="kdb and gdb",
)
def kdb_lockdown(target: Target, check: Boot) -> None:
    """Run one check."""
    check.run(target)
