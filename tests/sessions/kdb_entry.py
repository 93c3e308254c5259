# SPDX-License-Identifier: GPL-2.0-only
"""Is the kernel as good as before, whatever brought it into kdb?

Claim: a debugging patch must not break the ways into kdb, and out of it: a BREAK on the
serial line, a breakpoint in code of any kind, a WARN_ON() or BUG() in what is debugged, a
breakpoint that the debugger itself runs into, kgdboc taken off the line and put back.
kgdbtest does the BUG() and the WARN_ON() by LKDTM.

Measured: where kdb says that it stopped and whom it names there, against the stack in memory;
and that the command which was stopped comes to its end. For WARN_ON() and BUG() `rm` sends a
system call to one that the kernel's own table of them names (__bug_table), so no driver is
needed for it; the call is brought back from the first and must do what it does.

Refuted by no stop (`missed-hits`), a stop elsewhere (`off-order`), another stack or another
end of the command (`wrong-result`), a complaint that was not brought about (`splat`), a guest
that does not go on (`hang`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.judge.registers import BTYPE
from kstep.machine.capability import Capability
from kstep.session.checks import Check, checks, must, must_be
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.session.target import Target

CALL = "__arm64_sys_getitimer"
TRIGGER = "syscall getitimer 1 0 @"
ENDS = "for each in $(seq 100); do (:); done"  # each leaves something to RCU
# Code of a kind, and a command that reaches it; others may reach it before.
PLACES = (
    ("update_process_times", "ticks 2000 5"),  # the timer's interrupt
    ("hrtimer_wakeup", "sleep 0.01"),  # another one of its
    ("run_timer_softirq", ENDS),  # what an interrupt leaves to do: RCU's thread waits by timers
    ("prepare_to_swait_event", ENDS),  # RCU's thread
    ("handle_mm_fault", "/bin/busybox true"),  # a fault of user space
    ("begin_new_exec", "/bin/busybox true"),  # a process turns into another
    ("wake_up_new_task", "(:)"),  # it is made
    ("do_exit", "(:)"),  # it ends
    ("__arm64_sys_kill", "kill -CONT $$"),  # it is sent a signal; what does it may be inlined
)
BUG = struct.Struct(
    "<iiHH"
)  # struct bug_entry: where, in which file, line, flags (asm-generic/bug.h)
GOES_ON = "attempting to continue"  # kernel/debug/kdb/kdb_main.c
AFTERMATH = ("kernel/context_tracking.c:", "kernel/rcu/tree.c:", "arch/arm64/kernel/process.c:")
KIND, WARNING = 0xF, 1  # of the flags; 0 is a BUG()


def serial_break(target: Target) -> None:
    """A BREAK on the serial line and `g` enter kdb, amid an interrupt; a second time too."""
    for _ in range(2):
        with target.broken_in():
            target.must_show_stack(target.kdb.command("bt"), target.kdb.registers())
    target.must_tick()


def places(target: Target) -> None:
    """Code of any kind can be stopped in and left again, and `bt` shows where it is."""
    for function, trigger in PLACES:
        with target.stopped_at(function, trigger, at_once=True):
            target.must_show_stack(target.kdb.command("bt"), target.kdb.registers())
    target.must_tick()
    target.run("echo still here")


def kgdboc_off_and_on(target: Target) -> None:
    """The debugger can be taken off the serial line and put back; breakpoints stop as before."""
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
    place: str


def bug(target: Target, kdb: Kdb, kind: int) -> Bug:
    """Find one of a kind, in text that stays, where kgdb can stop behind it."""
    start, end = kdb.address("__start___bug_table"), kdb.address("__stop___bug_table")
    text = range(kdb.address("_stext"), kdb.address("_etext"))
    table = target.read(start, end - start)
    for at in range(0, len(table), BUG.size):
        where, file, line, flags = BUG.unpack_from(table, at)
        address = start + at + where
        if flags & KIND == kind and address in text and not kdb.refusal(f"bp {address + 4:#x}"):
            kdb.command("bc *")
            # Before 5.13 the name is relative to the entry: then its first letters are missed.
            path = target.read(start + at + 4 + file, 128).partition(b"\0")[0].decode()
            return Bug(address, f"{path.rpartition('/')[2]}:{line}")
    raise MachineryError(f"this kernel has no BUG() or WARN_ON() with flags {kind}")


def warn(target: Target) -> None:
    """A WARN_ON() is reported once, and the kernel goes on behind it."""
    kdb = target.kdb
    with target.stopped_at(CALL, TRIGGER) as stop:
        stop.clear()
        warning = bug(target, kdb, WARNING)
        before = kdb.registers()
        behind = kdb.breakpoint(warning.address + 4)
        kdb.command(f"rm pc {warning.address:#x}")
        with target.provoking(f"/{warning.place} "):
            target.go()
            target.expect_breakpoint(behind)
        # as arm64_skip_faulting_instruction() has it, arch/arm64/kernel/traps.c
        after = before | {"pc": behind.address, "pstate": before["pstate"] & ~BTYPE}
        must_be(kdb.registers(), after, "the registers behind it")
        kdb.clear(behind)
        kdb.command(f"rm pc {before['pc']:#x}")
    said = stop.answer.text
    must("getitimer: 0 ok" in said, f"the system call comes to {said!r}")


def bug_twice(target: Target) -> None:
    """A BUG() enters kdb where it is, `go` asks to be told again, and ends the process alone.

    The exception that it is taken by never ends, for which the kernel's account of idleness
    complains once, with or without a debugger; and so does 7.2 where it switches tasks.
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
        must(f"/{found.place}!" in said, f"the log has {said!r}")
        with target.provoking("Catastrophic error detected"):
            kdb.press(b"go\r")
        with target.provoking("Catastrophic error detected"):
            target.go()
            target.await_line(GOES_ON)
    must("it ended with 139" in ended[0].text, f"the process: {ended[0].text!r}")  # SIGSEGV


def own_breakpoint(target: Target) -> None:
    """A breakpoint that the debugger runs into itself is taken out, said, and survived.

    kgdb_reenter_check() in kernel/debug/debug_core.c; kgdboc's function is called on the way
    out, when the breakpoints are planted already.
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
    *checks(places, kgdboc_off_and_on, warn, own_breakpoint, bug_twice),
)


@session(
    claim="Whatever brings the kernel into kdb, it leaves as good as before.",
    cases=CHECKS,
    needs=("CONFIG_DEBUG_BUGVERBOSE",),
    requires={Capability.MEMORY_PAST_KERNEL: "it compares backtraces with the stack in memory"},
    area="kdb and gdb",
)
def kdb_entry(target: Target, check: Check) -> None:
    """Run one check."""
    check.run(target)
