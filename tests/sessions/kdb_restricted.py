# SPDX-License-Identifier: GPL-2.0-only
"""Does kdb refuse what kdb.cmd_enable does not allow?

Claim: a debugging patch must not open what a machine's owner has closed. kdb.cmd_enable says
which groups of commands are allowed (include/linux/kdb.h), and lockdown removes groups from it.

Measured: at least one command of each group, with each group allowed alone, against the
groups of the tables in kernel/debug/kdb/; and that a refused command has no effect.

Refuted by a command that is allowed and should not be, or refused and should not be
(`wrong-result`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.machine.capability import Capability
from kstep.session.checks import checks, must, must_be
from kstep.session.session import session
from tests.session_parts.kdb_groups import (
    ALL,
    FLOW,
    INSPECT,
    MODULES,
    NO,
    PARAMETER,
    PROBES,
    READ,
    REG_READ,
    REG_WRITE,
    SIGNAL,
    WRITE,
    allowed,
    must_keep_to,
)
from tests.session_parts.kdb_memory import word_at

if TYPE_CHECKING:
    from kstep.session.checks import Check
    from kstep.session.target import Target


def groups(target: Target) -> None:
    """A command is accepted only if its group is allowed."""
    for mask in (0, READ, WRITE, WRITE | READ, REG_READ, REG_WRITE, INSPECT, FLOW, SIGNAL):
        with allowed(target, mask) as kdb:
            must_keep_to(kdb, mask, (*PROBES, *MODULES))


def nothing_happens(target: Target) -> None:
    """A refused command has no effect on memory, registers, breakpoints and processes."""
    with target.in_kdb() as kdb:
        scratch = kdb.address("sys_tz")
    with allowed(target, 0) as kdb:
        before = word_at(target, scratch)
        for command in (
            f"mm8 {scratch:#x} {before + 1:#x}",
            "rm x0 5",
            "bp vfs_mkdir",
            "kill -9 1",
        ):
            must_be(kdb.refusal(command), NO, command)
        must_be(word_at(target, scratch), before, "the memory after mm")
        must(kdb.refusal("jiffies") != "", "kdb looks up a symbol")
    with target.in_kdb() as kdb:
        must("BP #" not in kdb.command("bl"), "bl lists a breakpoint")
    target.run("mkdir /tmp/new && rmdir /tmp/new")


def prompt(target: Target) -> None:
    """`set PROMPT` changes the prompt, if memory may be read."""
    with target.in_kdb() as kdb:
        match = kdb.press(b"set PROMPT=K[%d]kdb>\\ \r")
        must(
            match.string[: match.start()].endswith(b"\nK"), f"the prompt is {match.string[-20:]!r}"
        )
        match = kdb.press(b"set PROMPT=[%d]kdb>\\ \r")
        must(match.string[: match.start()].endswith(b"\n"), f"the prompt is {match.string[-20:]!r}")


def revoked(target: Target) -> None:
    """The permissions are checked at every command: kdb can revoke its own."""
    with target.in_kdb() as kdb:
        groups_ = kdb.address("kdb_cmd_enabled")
        must_be(word_at(target, groups_, 4), ALL, "kdb_cmd_enabled")
        kdb.command("mm4 kdb_cmd_enabled 0")
        must_be(word_at(target, groups_, 4), 0, "kdb_cmd_enabled")
        must_be(kdb.refusal("mm4 kdb_cmd_enabled 1"), NO, "mm after that")
        must_be(word_at(target, groups_, 4), 0, "kdb_cmd_enabled")
    must_be(target.run(f"cat {PARAMETER}").text.strip(), "0", PARAMETER)
    target.run(f"echo {ALL} > {PARAMETER}")


def sysrq(target: Target) -> None:
    """`sr` obeys kernel.sysrq, unless everything is allowed."""
    mask, level = "/proc/sys/kernel/sysrq", "cat /proc/sys/kernel/printk"
    before = target.run(f"cat {mask}").text.strip()
    shown = target.run(level).text.split()[0]
    target.run(f"echo 0 > {mask}")
    with allowed(target, READ) as kdb:
        kdb.command("sr 5")
    must_be(target.run(level).text.split()[0], shown, "the log level with sysrq off")
    with target.in_kdb() as kdb:
        kdb.command("sr 5")
    must_be(target.run(level).text.split()[0], "5", "the log level")
    with target.in_kdb() as kdb:
        kdb.command(f"sr {shown}")
    target.run(f"echo {before} > {mask}")


CHECKS = checks(groups, nothing_happens, prompt, revoked, sysrq)


@session(
    claim="kdb refuses what kdb.cmd_enable does not allow.",
    cases=CHECKS,
    needs=("CONFIG_MODULES",),
    requires={Capability.MEMORY_PAST_KERNEL: "it reads memory that kdb then refuses to show"},
    area="kdb and gdb",
)
def kdb_restricted(target: Target, check: Check) -> None:
    """Run one check."""
    check.run(target)
