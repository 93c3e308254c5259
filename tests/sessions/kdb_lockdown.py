# SPDX-License-Identifier: GPL-2.0-only
"""Does the debugger keep to the kernel's lockdown?

Claim: a debugging patch must not open what lockdown has closed (man kernel_lockdown). Integrity
forbids kdb commands that write memory and registers or control execution, confidentiality
also those that read them (kdb_check_for_lockdown() in kernel/debug/kdb/kdb_main.c). gdb
is no longer allowed: if it had the serial line, kdb gets it at the next stop
(kgdb_cpu_enter() in kernel/debug/debug_core.c). kgdbtest tests that gdb cannot stop a kernel
without kdb at boot.

Measured: with lockdown= on the command line, while the boot waits, and with lockdown raised
through securityfs between two stops, the second of which gdb would have had: the commands of
each group, the value of kdb.cmd_enable and what can be set in it, and writes to memory.

Refuted by a command that is allowed and should not be, or refused and should not be
(`wrong-result`), or by a stop that kdb does not get (`hang`).
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
# gdb's first packets; kdb_read() in kernel/debug/kdb/kdb_io.c recognizes them.
GREETINGS = (b"$?#3f", b"$qSupported")
MOUNT = "mount -t securityfs securityfs /sys/kernel/security"
LEVEL = "/sys/kernel/security/lockdown"
VARIABLE, FILE = "panic_timeout", "/proc/sys/kernel/panic"


def number(target: Target, file: str) -> int:
    """Return the number in a file of the guest."""
    return target.run(f"echo held=$(cat {file})").figures["held"]


def must_be_locked(target: Target, groups: int) -> None:
    """Check that kdb allows only these groups, whatever is written to kdb.cmd_enable."""
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
    """Check that kdb does not hand the serial line to gdb."""
    for greeting in GREETINGS:
        said = kdb.press(greeting).string.decode(errors="replace")
        must(NO in said, f"kdb answers {greeting.decode()} with {said!r}")


def integrity(target: Target) -> None:
    """lockdown=integrity: kdb shows memory and registers and changes nothing."""
    must_be_locked(target, WITH_INTEGRITY)


def confidentiality(target: Target) -> None:
    """lockdown=confidentiality: kdb does not show them either."""
    must_be_locked(target, WITH_CONFIDENTIALITY)


def boot(target: Target) -> None:
    """A boot that waits for a debugger waits in kdb, which obeys lockdown."""
    with target.coming_up():
        must_keep_to(target.kdb, WITH_INTEGRITY)
        must_refuse_gdb(target.kdb)
        target.go()
    must_be_locked(target, WITH_INTEGRITY)


def while_running(target: Target) -> None:
    """Lockdown raised between two stops applies at the second, which gdb would have had."""
    target.run(MOUNT)
    before = number(target, FILE)
    with target.in_kdb() as kdb:
        address = kdb.address(VARIABLE)
        must_be(kdb.refusal(f"mm4 {address:#x} {before + 1:#x}"), "", "mm before lockdown")
    must_be(number(target, FILE), before + 1, VARIABLE)
    with target.running("echo g > /proc/sysrq-trigger"):
        target.expect_stop(KEYBOARD)
        with target.in_gdb(detach=True) as gdb:
            must_be(gdb.value(VARIABLE), before + 1, f"{VARIABLE} in gdb")
    target.run(f"echo integrity > {LEVEL}")
    with target.in_kdb() as kdb:
        must_be(kdb.refusal(f"mm4 {address:#x} {before + 2:#x}"), NO, "mm")
    must_be(number(target, FILE), before + 1, f"{VARIABLE} under lockdown")
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
    claim="kdb and kgdb obey the kernel's lockdown.",
    cases=BOOTS,
    needs=("CONFIG_SECURITY_LOCKDOWN_LSM", "CONFIG_SECURITYFS"),
    requires={Capability.FRESH_BOOT: "it locks the kernel down until the next boot"},
    area="kdb and gdb",
)
def kdb_lockdown(target: Target, check: Boot) -> None:
    """Run one check."""
    check.run(target)
