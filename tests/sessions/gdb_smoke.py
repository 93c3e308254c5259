# SPDX-License-Identifier: GPL-2.0-only
"""Do gdb's everyday commands work over kgdb's serial line?

Claim: a debugging patch breaks none of them. With patch 1/2 the commands that let the kernel
run, over a breakpoint or by source lines, end where they should, because gdb makes each of
them from `s` and `c`. Not raised in the review, except that Matthias Schiffer reports `continue`.

Measured, while the kernel is stopped: registers against kdb's `rd`, the backtrace against
the frame records in memory, memory against QEMU's view of it, a variable that gdb writes
against what the guest reads, `info threads` and the stacks of sleeping tasks against kdb's
`ps A` and `btp`, their registers against those in memory, `monitor`; registers that gdb writes
against kdb's. While it runs: `finish` from a breakpoint, `until`, `step` into a function, `next`,
`continue`, `stepi`, and where each of them ends. While the kernel boots and waits (`kgdbwait`):
the backtrace, and a breakpoint further on; breakpoints in code that is not reached and in code that
is freed are cleared once it is up. After `stepi` and `detach`: no step and no breakpoint remains,
and another gdb can attach.
After each, the stopped command completes: `go` in kdb or gdb's detach resumes it.

Refuted by a value that differs from the other source (`wrong-result`), by a breakpoint
that `finish` hits again (`rehit`), by a command that ends in an interrupt's entry
(`enters-interrupt`), elsewhere (`off-order`) or never (`hang`).
"""

from __future__ import annotations

import struct
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING

from kstep.arm64.branch import decode
from kstep.arm64.entry import is_interrupt
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import KEYBOARD
from kstep.judge.backtrace import printed, recorded
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.session.checks import Boot
from kstep.session.session import session
from tests.session_parts.kdb_tasks import saved, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.gdb import Gdb
    from kstep.session.target import Target

# fs/proc/loadavg.c: calls get_avenrun(), then others for the arguments of seq_printf()
CALLER, LEAF, TRIGGER = "loadavg_proc_show", "get_avenrun", "cat /proc/loadavg"
RET = 0xD65F_03C0
GENERAL = 29  # x0 to x28; gdb needs the frame pointer and what follows
LINES = 16  # stops of `step` before it enters what CALLER calls, at most
STOP = "echo g > /proc/sysrq-trigger"
SLEEPING = (1, 2)  # init, which waits for the shell, and kthreadd
VARIABLE, FILE, VALUE = "panic_timeout", "/proc/sys/kernel/panic", 77
# kernel/panic.c; and kernel/debug/kdb/kdb_main.c: __init, has run when the boot stops
NEVER, FREED = "panic", "kdb_init"


def stopped(target: Target) -> None:
    """Inspect and write, with the kernel stopped."""
    with target.in_kdb() as kdb:
        registers = kdb.registers()
        tasks = shown(kdb.command("ps A"))
        stacks = {pid: kdb.command(f"btp {pid}") for pid in SLEEPING}
        with target.in_gdb() as gdb:
            same("registers", gdb.registers(), registers)
            must_unwind(target, gdb)
            threads = {int(each["target-id"].split()[1]): each for each in gdb.threads()}
            same(
                "threads",
                {pid: threads.get(pid, {}).get("details") for pid in tasks if pid},
                {pid: task.name for pid, task in tasks.items() if pid},
            )
            for pid, stack in stacks.items():
                gdb.select(threads[pid]["id"])
                sleeper, kept = gdb.registers(), saved(target, tasks[pid])
                target.must_show_stack(stack, sleeper)
                same(f"registers of task {pid}", {name: sleeper[name] for name in kept}, kept)
                same(f"frames of task {pid}", len(must_unwind(target, gdb)), len(printed(stack)))
            (current,) = [task.pid for task in tasks.values() if task.current]
            gdb.select(threads[current]["id"])
            same("registers of the task that runs", gdb.registers(), registers)
            banner = gdb.value("&linux_banner")
            same("memory", gdb.read(banner, 64), target.read(banner, 64))
            before = gdb.value(VARIABLE)
            address = gdb.value(f"&{VARIABLE}")
            gdb.type(f"set var {VARIABLE} = {VALUE}")
            same("memory that was written", gdb.read(address, 4), VALUE.to_bytes(4, "little"))
            line = gdb.type(f"monitor md4c1 {address:#x}")
            same("monitor md", f"{VALUE:08x}" in line, True)  # noqa: FBT003 -- what is compared
    same(FILE, target.run(f"cat {FILE} && echo {before} > {FILE}").text.strip(), str(VALUE))


def written(target: Target) -> None:
    """Write each general register in gdb; kdb must have all, and writes them back."""
    with target.in_kdb() as kdb:
        before = kdb.registers()
        wanted = before | {f"x{n}": (before[f"x{n}"] + n + 1) % (1 << 64) for n in range(GENERAL)}
        with target.in_gdb() as gdb:
            for name, value in wanted.items():
                if value != before[name]:
                    gdb.type(f"set ${name} = {value:#x}")
        same("registers that gdb wrote", kdb.registers(), wanted)
        for name, value in before.items():
            if value != wanted[name]:
                kdb.command(f"rm {name} {value:#x}")
        same("registers that kdb wrote back", kdb.registers(), before)
    target.must_tick()


def must_unwind(target: Target, gdb: Gdb) -> list[int]:
    """Check that gdb's backtrace has every frame record; return the records.

    Inlined functions, and the caller of a function that has not made its record yet, have none.
    """
    registers = gdb.registers()
    frames = [address for address, _ in groupby(gdb.frames())]
    records = recorded(registers["pc"], registers["x29"], target.read)
    same("backtrace", [address for address in frames if address in records], records)
    return records


def running(target: Target) -> None:
    """Let the kernel run from a breakpoint, by functions and by lines."""
    with target.in_kdb(then=TRIGGER), target.in_gdb() as gdb:
        leaf = gdb.breakpoint(LEAF)
        gdb.resume()
        target.expect_breakpoint_in_gdb(gdb, leaf)
        to_caller = gdb.registers()["x30"]
        ends(target, gdb, "-exec-finish", lambda pc: pc == to_caller)
        caller = target.symbols.span(CALLER)
        calls = next_call(gdb, range(to_caller + 4, caller.stop, 4))
        ends(target, gdb, f"-exec-until *{calls:#x}", lambda pc: pc == calls)
        # How many lines of it come before what it calls depends on the compiler.
        for _ in range(LINES):
            if ends(target, gdb, "-exec-step", lambda _: True) not in caller:
                break
        else:
            raise MachineryError(f"{CALLER} calls nothing within {LINES} steps by line")
        same("the caller of what `step` entered", gdb.registers()["x30"] in caller, True)  # noqa: FBT003
        ends(target, gdb, "-exec-finish", lambda pc: pc in caller)
        ends(target, gdb, "-exec-next", lambda pc: pc in caller)
        # Not by `until`, which stops in the same frame only: clang 14 has none for an epilogue.
        leaving = gdb.breakpoint(target.find(CALLER, lambda word: word == RET))
        ends(target, gdb, "-exec-continue", lambda pc: pc == leaving.address)
        back = gdb.registers()["x30"]
        ends(target, gdb, "-exec-step-instruction", lambda pc: pc == back)
        gdb.clear(leaving)
        gdb.clear(leaf)


def next_call(gdb: Gdb, code: range) -> int:
    """Return the address of the first call in a function's code."""
    words = struct.iter_unpack("<I", gdb.read(code.start, 4 * len(code)))
    for at, (word,) in zip(code, words, strict=True):
        if decode(word, at).links:
            return at
    raise MachineryError(f"{CALLER} calls nothing after {LEAF}")


def detached(target: Target) -> None:
    """Step, detach, attach again: no step is armed, no breakpoint left; then back to kdb."""
    with target.running(STOP):
        target.expect_stop(KEYBOARD)
        with target.in_gdb(detach=True) as gdb:
            gdb.breakpoint(LEAF)
            active = gdb.value("&kgdb_active")
            gdb.step_instruction()
    target.run(TRIGGER)
    target.must_tick()
    with target.running(STOP):
        target.expect_wait_for_gdb(active)
        with target.in_gdb(waits=True) as gdb:
            must_unwind(target, gdb)
            same("kgdb_single_step", gdb.value("kgdb_single_step"), 0)
            gdb.step_instruction()
        target.go()
    target.run(TRIGGER)
    target.must_tick()


def at_boot(target: Target) -> None:
    """Attach to a kernel that waits for a debugger, and let it boot."""
    with ExitStack() as afterwards, target.in_gdb(detach=True) as gdb:
        with target.coming_up():
            must_unwind(target, gdb)
            never, freed = gdb.breakpoint(NEVER), gdb.breakpoint(FREED)
            later = gdb.breakpoint("kernel_execve")  # fs/exec.c
            gdb.resume()
            target.expect_breakpoint_in_gdb(gdb, later)
            must_unwind(target, gdb)
            gdb.clear(later)
            gdb.resume()
        afterwards.enter_context(target.running(STOP))
        same("the stop by sysrq-g", gdb.wait("stop by sysrq-g").reason, "SIGTRAP")
        must_unwind(target, gdb)
        gdb.clear(never)
        gdb.clear(freed)
    target.must_tick()


def ends(target: Target, gdb: Gdb, command: str, is_right: Callable[[int], bool]) -> int:
    """Resume the kernel by a command; return where it ends.

    Raises KernelFault if that is the wrong place, or the one where it began.
    """
    before = gdb.registers()
    target.wait_for_pending_tick()
    stop = gdb.run(command)
    end = target.locate(stop)
    stays = end.address == before["pc"] and gdb.registers() == before
    if is_right(end.address) and not is_interrupt(end) and not stays:
        return end.address
    if stays:
        signature = Signature.REHIT
    elif is_interrupt(end):
        signature = Signature.ENTERS_INTERRUPT
    else:
        signature = Signature.OFF_ORDER
    start = target.symbols.locate(before["pc"])
    raise KernelFault(signature, f"{command} from {start} ends at {end}: {stop.reason}")


def same(what: str, got: object, want: object) -> None:
    """Raise KernelFault if what gdb shows, or did, differs from another source."""
    if got != want:
        raise KernelFault(Signature.WRONG_RESULT, f"{what}: {got!r}, not {want!r}")


@session(
    claim="gdb's commands work over the serial line.",
    cases=(
        Boot(stopped, Hardware()),
        Boot(written, Hardware()),
        Boot(running, Hardware()),
        Boot(detached, Hardware()),
        Boot(at_boot, Hardware(parameters="kgdbwait", waits=True)),
    ),
    requires={
        Capability.MEMORY_WITHOUT_KDB: "it compares what gdb shows with memory",
    },
    area="kdb and gdb",
)
def gdb_smoke(target: Target, part: Boot) -> None:
    """Try gdb's everyday commands."""
    part.run(target)
