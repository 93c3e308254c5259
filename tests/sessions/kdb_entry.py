# SPDX-License-Identifier: GPL-2.0-only
"""Does the kernel work as before after every way into kdb?

Claim: a debugging patch must not break the ways into and out of kdb: a BREAK on the serial
line, a breakpoint in any kind of code, a WARN_ON() or BUG() in the debugged code, a breakpoint
that the debugger itself runs into, kgdboc taken off the line and attached again. kgdbtest
tests BUG() and WARN_ON() with LKDTM.

Measured: the address and the functions that kdb names at the stop, against the stack in memory;
and that the stopped command completes. For WARN_ON() and BUG(), `rm pc` makes a system call
run into one from the kernel's own table (__bug_table), so no driver is needed; after the
WARN_ON() the system call is resumed and must return its usual result.

Refuted by no stop (`missed-hits`), a stop elsewhere (`off-order`), a wrong stack or a wrong
result of the command (`wrong-result`), a splat that was not provoked (`splat`), a guest that
does not go on (`hang`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.judge.registers import BTYPE
from kstep.machine.capability import Capability
from kstep.session.checks import Check, checks, must, must_be
from kstep.session.session import Unless, session

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.session.target import Target

CALL = "__arm64_sys_getitimer"
TRIGGER = "syscall getitimer 1 0 @"
ENDS = "for each in $(seq 100); do (:); done"  # each leaves something to RCU
# Functions of each kind, and a command that reaches them; others may reach them before.
FUNCTIONS = (
    ("update_process_times", "ticks 2000 5"),  # timer interrupt: the tick
    ("hrtimer_wakeup", "sleep 0.01"),  # timer interrupt: another hrtimer
    ("run_timer_softirq", ENDS),  # softirq: RCU's thread waits by timers
    ("prepare_to_swait_event", ENDS),  # RCU's thread
    ("handle_mm_fault", "/bin/busybox true"),  # page fault from user space
    ("begin_new_exec", "/bin/busybox true"),  # exec
    ("wake_up_new_task", "(:)"),  # fork
    ("do_exit", "(:)"),  # exit
    ("__arm64_sys_kill", "kill -CONT $$"),  # signal; the functions below may be inlined
)
BUG = struct.Struct("<iiHH")  # struct bug_entry: address, file, line, flags (asm-generic/bug.h)
GOES_ON = "attempting to continue"  # kernel/debug/kdb/kdb_main.c
AFTERMATH = ("kernel/context_tracking.c:", "kernel/rcu/tree.c:", "arch/arm64/kernel/process.c:")
KIND, WARNING = 0xF, 1  # of the flags; 0 is a BUG()


def serial_break(target: Target) -> None:
    """A BREAK on the serial line and `g` enter kdb inside an interrupt, twice in a row."""
    for _ in range(2):
        with target.broken_in():
            target.must_show_stack(target.kdb.command("bt"), target.kdb.registers())
    target.must_tick()


def any_code(target: Target) -> None:
    """Any kind of code can be stopped and resumed, and `bt` shows the stack."""
    for function, trigger in FUNCTIONS:
        with target.stopped_at(function, trigger, at_once=True):
            target.must_show_stack(target.kdb.command("bt"), target.kdb.registers())
    target.must_tick()
    target.run("echo still here")


def kgdboc_off_and_on(target: Target) -> None:
    """Breakpoints still work after kgdboc is taken off the serial line and attached again."""
    for _ in range(2):
        with target.without_kgdboc():
            target.run("echo g > /proc/sysrq-trigger")
            target.run("! echo ttyS99 > /sys/module/kgdboc/parameters/kgdboc")
        told = target.run("cat /sys/module/kgdboc/parameters/kgdboc").text.split()
        must_be(told[-1:], ["ttyAMA0"], "kgdboc")
        with target.stopped_at(CALL, TRIGGER):
            pass


@dataclass(frozen=True)
class Bug:
    """A WARN_ON() or BUG() of the kernel: the address of its BRK, and its file and line."""

    address: int
    line: str  # file and line, as the kernel prints them


def bug(target: Target, kdb: Kdb, kind: int) -> Bug:
    """Find one of a kind, in text that is not freed, that kgdb can break behind."""
    start, end = kdb.address("__start___bug_table"), kdb.address("__stop___bug_table")
    text = range(kdb.address("_stext"), kdb.address("_etext"))
    table = target.read(start, end - start)
    for at in range(0, len(table), BUG.size):
        offset, file, line, flags = BUG.unpack_from(table, at)
        address = start + at + offset
        if flags & KIND == kind and address in text and not kdb.refusal(f"bp {address + 4:#x}"):
            kdb.command("bc *")
            # Before 5.13 the name is relative to the entry: then this drops its first letters.
            path = target.read(start + at + 4 + file, 128).partition(b"\0")[0].decode()
            return Bug(address, f"{path.rpartition('/')[2]}:{line}")
    raise MachineryError(f"this kernel has no BUG() or WARN_ON() with flags {kind}")


def warn(target: Target) -> None:
    """A WARN_ON() is reported once, and the kernel resumes after it."""
    kdb = target.kdb
    with target.stopped_at(CALL, TRIGGER) as stop:
        stop.clear()
        warning = bug(target, kdb, WARNING)
        before = kdb.registers()
        behind = kdb.breakpoint(warning.address + 4)
        kdb.command(f"rm pc {warning.address:#x}")
        with target.provoking(f"/{warning.line} "):
            target.go()
            target.expect_breakpoint(behind)
        # as arm64_skip_faulting_instruction() sets them, arch/arm64/kernel/traps.c
        after = before | {"pc": behind.address, "pstate": before["pstate"] & ~BTYPE}
        must_be(kdb.registers(), after, "the registers after it")
        kdb.clear(behind)
        kdb.command(f"rm pc {before['pc']:#x}")
    said = stop.answer.text
    must("getitimer: 0 ok" in said, f"the system call printed {said!r}")


def bug_twice(target: Target) -> None:
    """A BUG() enters kdb at its address; `go` must be given twice, and kills only the process.

    The exception of the BUG() never returns, so context tracking warns once, with or without a
    debugger; 7.2 also warns in __switch_to().
    """
    with target.excusing(*AFTERMATH):
        for _ in range(2):
            bug_once(target)
        target.must_tick()


def bug_once(target: Target) -> None:
    """Have a process run into a BUG()."""
    with target.in_kdb() as kdb:
        call = kdb.breakpoint(CALL)
    with target.running(f"{TRIGGER} || echo it ended with $?") as ended:
        target.expect_breakpoint(call)
        kdb.clear(call)
        found = bug(target, kdb, 0)
        kdb.command(f"rm pc {found.address:#x}")
        with target.provoking("Internal error: Oops - BUG", "Entering kdb"):
            target.go()
            target.expect_stop("oops", found.address)
        target.must_show_stack(kdb.command("bt"), kdb.registers())
        said = kdb.command('dmesg 60 | grep "kernel BUG"')
        must(f"/{found.line}!" in said, f"the log has {said!r}")
        with target.provoking("Catastrophic error detected"):
            kdb.press(b"go\r")
        with target.provoking("Catastrophic error detected"):
            target.go()
            target.await_line(GOES_ON)
    must("it ended with 139" in ended[0].text, f"the process: {ended[0].text!r}")  # SIGSEGV


def own_breakpoint(target: Target) -> None:
    """A breakpoint that the debugger itself hits is removed and reported, and the kernel survives.

    kgdb_reenter_check() in kernel/debug/debug_core.c; kgdboc's function is called on exit from
    kdb, after the breakpoints are installed.
    """
    with target.provoking("kernel/debug/debug_core.c:"), target.in_kdb() as kdb:
        call = kdb.breakpoint("kgdboc_post_exp_handler")
    with target.in_kdb() as kdb:
        kdb.clear(call)
    with target.stopped_at(CALL, TRIGGER):
        pass
    target.must_tick()


CHECKS = (
    Check(serial_break, requires={Capability.BREAK: "it enters kdb by BREAK"}),
    *checks(any_code, kgdboc_off_and_on, warn, own_breakpoint, bug_twice),
)


@session(
    claim="The kernel works as before after every way into kdb.",
    cases=CHECKS,
    needs=("CONFIG_DEBUG_BUGVERBOSE",),
    # kernel/printk/printk.c: force_legacy_kthread()
    unless=(
        Unless(
            "CONFIG_PREEMPT_RT",
            "the console prints from a thread, so not before kdb has it",
            ("warn", "bug_twice"),
        ),
    ),
    requires={Capability.MEMORY_PAST_KERNEL: "it compares backtraces with the stack in memory"},
    area="kdb and gdb",
)
def kdb_entry(target: Target, check: Check) -> None:
    """Run one check."""
    check.run(target)
