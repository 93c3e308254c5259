# SPDX-License-Identifier: GPL-2.0-only
"""Does what people do with gdb work over kgdb's serial line?

Claim: a debugging patch leaves it all as it was; and with patch 1/2 the commands that let
the kernel run, over a breakpoint or by source lines, end where they should, for each of
them is made of `s` and `c`. Made by nobody aloud; Matthias Schiffer reports the `continue`.

Measured, while the kernel is stopped: registers against kdb's `rd`, the backtrace against
the frame records in memory, memory against QEMU's view of it, a variable that is written
against what the guest reads, `info threads`, `monitor`. While it runs: `finish` from a
breakpoint, `step` into a function, `next`, `until`, `stepi`, and where each of them ends.
While the kernel boots and waits (`kgdbwait`): the backtrace, and a breakpoint further on.
After each, what was stopped ends well: by way of kdb, or when gdb detaches.

Refuted by anything that is not as the other view has it (`wrong-result`), by a breakpoint
that `finish` hits again (`rehit`), by a command that ends in an interrupt's entry
(`enters-interrupt`), elsewhere (`off-order`) or never (`hang`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from kstep import backtrace
from kstep.machine import Hardware
from kstep.outcome import KernelFault, Signature
from kstep.path import is_interrupt
from kstep.session import session

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.gdb import Gdb
    from kstep.target import Target

# fs/proc/loadavg.c: calls get_avenrun(), then others for the arguments of seq_printf()
CALLER, LEAF, TRIGGER = "loadavg_proc_show", "get_avenrun", "cat /proc/loadavg"
RET = 0xD65F_03C0
VARIABLE, FILE, VALUE = "panic_timeout", "/proc/sys/kernel/panic", 77


@dataclass(frozen=True)
class Part:
    """A part of what gdb can do; ``script`` is how it is tried."""

    name: str
    script: Callable[[Target], None]
    hardware: Hardware


def stopped(target: Target) -> None:
    """Look around and write, with the kernel stopped."""
    with target.in_kdb() as kdb:
        registers = kdb.registers()
        with target.in_gdb() as gdb:
            same("registers", gdb.registers(), registers)
            must_unwind(target, gdb)
            threads = {each["target-id"]: each.get("details") for each in gdb.threads()}
            same("threads", (threads["Thread 1"], threads["Thread 2"]), ("init", "kthreadd"))
            banner = gdb.value("&linux_banner")
            same("memory", gdb.read(banner, 64), target.read(banner, 64))
            before = gdb.value(VARIABLE)
            place = gdb.value(f"&{VARIABLE}")
            gdb.type(f"set var {VARIABLE} = {VALUE}")
            same("memory that was written", gdb.read(place, 4), VALUE.to_bytes(4, "little"))
            line = gdb.type(f"monitor md4c1 {place:#x}")
            same("monitor md", f"{VALUE:08x}" in line, True)  # noqa: FBT003 -- what is compared
    same(FILE, target.run(f"cat {FILE} && echo {before} > {FILE}").text.strip(), str(VALUE))


def must_unwind(target: Target, gdb: Gdb) -> None:
    """Hold gdb's backtrace against the frame records, which leave out inlined functions.

    And the caller of a function that has made no record of its own.
    """
    registers = gdb.registers()
    frames = [address for address, _ in groupby(gdb.frames())]
    records = backtrace.recorded(registers["pc"], registers["x29"], target.read)
    same("backtrace", [address for address in frames if address in records], records)


def running(target: Target) -> None:
    """Let the kernel run from a breakpoint on, by functions and by lines."""
    with target.in_kdb(then=TRIGGER), target.in_gdb() as gdb:
        leaf = gdb.breakpoint(LEAF)
        gdb.resume()
        target.expect_breakpoint_in_gdb(gdb, leaf)
        to_caller = gdb.registers()["x30"]
        ends(target, gdb, "-exec-finish", lambda pc: pc == to_caller)
        caller = target.symbols.span(CALLER)
        ends(target, gdb, "-exec-step", lambda pc: pc not in caller)
        same("the caller of what `step` entered", gdb.registers()["x30"] in caller, True)  # noqa: FBT003
        ends(target, gdb, "-exec-finish", lambda pc: pc in caller)
        ends(target, gdb, "-exec-next", lambda pc: pc in caller)
        leaving = target.find(CALLER, lambda word: word == RET)
        ends(target, gdb, f"-exec-until *{leaving:#x}", lambda pc: pc == leaving)
        back = gdb.registers()["x30"]
        ends(target, gdb, "-exec-step-instruction", lambda pc: pc == back)
        gdb.clear(leaf)


def at_boot(target: Target) -> None:
    """Come to a kernel that waits for a debugger, and go on to where it becomes init."""
    with target.coming_up(), target.in_gdb(detach=True) as gdb:
        must_unwind(target, gdb)
        later = gdb.breakpoint("kernel_execve")  # fs/exec.c
        gdb.resume()
        target.expect_breakpoint_in_gdb(gdb, later)
        must_unwind(target, gdb)
    target.must_tick()


def ends(target: Target, gdb: Gdb, command: str, is_right: Callable[[int], bool]) -> None:
    """Give a command that lets the kernel run; raise KernelFault where it ends wrongly."""
    before = gdb.registers()
    target.let_an_interrupt_fall_due()
    stop = gdb.run(command)
    place = target.place(stop)
    if is_right(place.address) and not is_interrupt(place):
        return
    if place.address == before["pc"] and gdb.registers() == before:
        signature = Signature.REHIT
    elif is_interrupt(place):
        signature = Signature.ENTERS_INTERRUPT
    else:
        signature = Signature.OFF_ORDER
    here = target.symbols.place(before["pc"])
    raise KernelFault(signature, f"{command} from {here} ends at {place}: {stop.reason}")


def same(what: str, one: object, other: object) -> None:
    """Raise KernelFault where what gdb shows, or did, is not what another way shows."""
    if one != other:
        raise KernelFault(Signature.WRONG_RESULT, f"{what}: {one!r}, not {other!r}")


@session(
    claim="gdb's commands work over the serial line.",
    cases=(
        Part("stopped", stopped, Hardware()),
        Part("running", running, Hardware()),
        Part("at_boot", at_boot, Hardware(parameters="kgdbwait", waits=True)),
    ),
)
def gdb_smoke(target: Target, part: Part) -> None:
    """Try what people do with gdb."""
    part.script(target)
