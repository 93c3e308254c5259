# SPDX-License-Identifier: GPL-2.0-only
"""Checks of kdb's commands for breakpoints, and of `go`.

They compare with the instruction in memory, read by QEMU while the guest runs, and check whether
the function stops. A breakpoint is cleared or disabled before `go`:
`continue-past-breakpoint` tests `go` from a breakpoint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.session.checks import checks, must, must_be
from tests.session_parts.kdb_memory import word_at

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.session.target import Target

BRK = 0xD420_8000  # brk #0x400: KGDB_DYN_DBG_BRK_IMM (arch/arm64/include/asm/brk-imm.h)
MOST = 16  # KDB_MAXBPT (kernel/debug/kdb/kdb_private.h)
# The format of kernel/debug/kdb/kdb_bp.c.
LISTED = re.compile(
    r"BP #(?P<number>\d+) at 0x(?P<address>[0-9a-f]+) \((?P<name>\S+)\)\n +is (?P<state>\w+)"
)
# System calls that the guest makes only on request.
NAMES = """
getitimer setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete
capget capset getsid getpgid sched_getscheduler sched_getparam getpriority setpriority
settimeofday adjtimex
"""
FUNCTIONS = tuple(f"__arm64_sys_{name}" for name in NAMES.split())
TRIGGER = "syscall getitimer 1 0 @"
CALL = FUNCTIONS[0]


@dataclass(frozen=True)
class LiveText:
    """The kernel's text in physical memory, because user space has no mapping of it."""

    target: Target
    offset: int  # of virtual addresses, as arch/arm64/mm/mmu.c keeps it

    @classmethod
    def find(cls, target: Target) -> LiveText:
        """Ask kdb for its offset."""
        with target.in_kdb() as kdb:
            return cls(target, word_at(target, kdb.address("kimage_voffset")))

    def __getitem__(self, address: int) -> int:
        """Read an instruction."""
        physical = (address - self.offset) % (1 << 64)
        return int.from_bytes(self.target.read_physical(physical, 4), "little")


def listed(kdb: Kdb) -> dict[int, tuple[int, str]]:
    """Read what `bl` shows: address and state by number."""
    return {
        int(each["number"]): (int(each["address"], 16), each["state"])
        for each in LISTED.finditer(kdb.command("bl"))
    }


def bp_and_bc(target: Target) -> None:
    """`bp` sets a breakpoint that stops and `bl` lists; `bc` removes it."""
    text = LiveText.find(target)
    address = target.symbols.address(CALL)
    original = text[address]
    with target.in_kdb() as kdb:
        call = kdb.breakpoint(CALL)
        must_be(call.address, address, "the breakpoint's address")
        must_be(listed(kdb), {call.number: (address, "enabled")}, "bl")
        must_be(text[address], original, "the instruction while the machine is in kdb")
        must(kdb.refusal(f"bp {CALL}") != "", "bp accepts a second breakpoint at one address")
    must_be(text[address], BRK, "the instruction while the guest runs")
    with target.running(TRIGGER):
        must_be(target.expect_breakpoint(call).cpu, 0, "the CPU of the stop")
        kdb.clear(call)
        must_be(listed(kdb), {}, "bl after bc")
        target.go()
    must_be(text[address], original, "the instruction after bc")
    target.run(TRIGGER)


def bd_and_be(target: Target) -> None:
    """`bd` disables a breakpoint, `be` enables it again."""
    text = LiveText.find(target)
    with target.in_kdb() as kdb:
        call = kdb.breakpoint(CALL)
        kdb.command(f"bd {call.number}")
        must_be(listed(kdb), {call.number: (call.address, "disabled")}, "bl after bd")
    must(text[call.address] != BRK, "a disabled breakpoint is in memory")
    target.run(TRIGGER)
    with target.in_kdb() as kdb:
        kdb.command(f"be {call.number}")
        must_be(listed(kdb), {call.number: (call.address, "enabled")}, "bl after be")
    with target.running(TRIGGER):
        target.expect_breakpoint(call)
        kdb.command("bd *")
        target.go()
    target.run(TRIGGER)
    with target.in_kdb() as kdb:
        kdb.clear(call)


def bp_many(target: Target) -> None:
    """Sixteen breakpoints can be set, and each is installed; `bc *` removes all of them."""
    text = LiveText.find(target)
    addresses = [target.symbols.address(name) for name in FUNCTIONS]
    original = [text[address] for address in addresses]
    with target.in_kdb() as kdb:
        points = [kdb.breakpoint(name) for name in FUNCTIONS[:MOST]]
        must("Too many" in kdb.refusal(f"bp {FUNCTIONS[MOST]}"), "bp accepts a seventeenth")
        must_be([each.address for each in points], addresses[:MOST], "the addresses")
        must_be(len(listed(kdb)), MOST, "the breakpoints in bl")
    must_be({text[each.address] for each in points}, {BRK}, "the instructions")
    with target.running(TRIGGER):
        target.expect_breakpoint(points[0])
        must("not found" in kdb.refusal("bc 99"), "bc accepts a breakpoint that does not exist")
        kdb.command("bc *")
        must_be(listed(kdb), {}, "bl after bc *")
        target.go()
    must_be([text[address] for address in addresses], original, "the instructions")
    target.run(TRIGGER)


def bp_refused(target: Target) -> None:
    """`bp` refuses unknown symbols, unmapped addresses, and code that kgdb itself needs."""
    with target.in_kdb() as kdb:
        for where in ("no_such_function", "0x10", "0", "do_debug_exception", "brk_handler"):
            must(kdb.refusal(f"bp {where}") != "", f"bp accepts {where}")
        must_be(listed(kdb), {}, "bl after the refusals")


def go_many_times(target: Target) -> None:
    """`go` resumes the guest every time kdb is entered, and its clock ticks."""
    for _ in range(20):
        with target.in_kdb() as kdb:
            must(kdb.refusal("go one two") != "", "go accepts two arguments")
    target.must_tick()


def ss_again(target: Target) -> None:
    """`ss` stops again in the same task, a bare Enter steps again; `go` ends stepping."""
    with target.stopped_at(CALL, TRIGGER) as call:
        before = call.stop
        call.clear()
        must(target.kdb.refusal("ss 5") != "", "ss accepts an argument")
        first = target.step_unjudged()
        again = target.step_unjudged("")
        for stop in (first, again):
            must_be((stop.pid, stop.cpu), (before.pid, before.cpu), "task and CPU of a step")
    target.must_tick()


CHECKS = checks(bp_and_bc, bd_and_be, bp_many, bp_refused, go_many_times, ss_again)
