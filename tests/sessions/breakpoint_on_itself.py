# SPDX-License-Identifier: GPL-2.0-only
"""What if a breakpoint is where the kernel installs breakpoints?

Claim: kdb refuses a breakpoint in its own way, as the blocklist of kprobes has it
(CONFIG_KGDB_HONOUR_BLOCKLIST), and one where perf installs hardware breakpoints is hit and can be
stepped from. Not raised in the review; whatever happens, the cell ends in its time, and the next
ones get a machine that is whole.

Measured: `refused`: kdb's answer to `bp` on each function through which a breakpoint, a step or an
interrupt for kgdb goes, of those that the kernel marks with NOKPROBE_SYMBOL or __kprobes. `writes`,
`flushes`: a breakpoint on the two functions by which kgdb puts a BRK into the text, and which have
no such mark, then `go`. `stops`: kdb's breakpoint where perf's are installed, with steps; `counts`:
perf's own there.

Refuted by a breakpoint that is accepted there (`wrong-result`), a kernel that complains or dies of
one (`splat`, `panic`, `hang`), fewer hits than events (`missed-hits`), or a step that leaves
program order, as in step-in-order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.console.kdb import CommandRefusedError
from kstep.machine.capability import Capability
from kstep.session.checks import checks, must
from kstep.session.hits import must_not_be_missed
from kstep.session.session import BY_NIGHT, session

if TYPE_CHECKING:
    from kstep.session.checks import Check
    from kstep.session.target import Target

# kernel/debug/debug_core.c, arch/arm64/kernel/: hw_breakpoint.c and debug-monitors.c
MARKED = (
    "kgdb_arch_set_breakpoint",
    "dbg_activate_sw_breakpoints",
    "kgdb_handle_exception",
    "kgdb_roundup_cpus",
    "toggle_bp_registers",
    "enable_debug_monitors",
    "kernel_enable_single_step",
    "user_enable_single_step",
)
INSTALLS = "arch_install_hw_breakpoint"  # arch/arm64/kernel/hw_breakpoint.c
CODE = "__arm64_sys_settimeofday"
OPENED, STEPS = 3, 20


def refused(target: Target) -> None:
    """Kdb refuses a breakpoint on what is marked."""
    with target.in_kdb() as kdb:
        here = [name for name in MARKED if name in target.symbols]
        accepted = [name for name in here if not kdb.refusal(f"bp {name}")]
        for number in range(len(accepted)):
            kdb.command(f"bc {number}")
    target.metrics["asked"] = len(here)
    must(not accepted, f"kdb accepts a breakpoint on {', '.join(accepted)}")
    must(len(here) > len(MARKED) // 2, f"of {', '.join(MARKED)} this kernel has {len(here)}")


def writes(target: Target) -> None:
    """A breakpoint on what writes a BRK into the text is refused, or passed in some way."""
    go_with(target, "copy_to_kernel_nofault")  # mm/maccess.c


def flushes(target: Target) -> None:
    """A breakpoint on what makes a BRK visible is refused, or passed in some way."""
    # arch/arm64/mm/cache.S, by that name since 5.14
    go_with(target, "caches_clean_inval_pou", "__flush_icache_range")


def go_with(target: Target, *function: str) -> None:
    """Set a breakpoint, and continue."""
    name = target.known(*function)
    with target.in_kdb() as kdb:
        try:
            point = kdb.breakpoint(name)
        except CommandRefusedError:
            target.metrics["refused"] = 1
            return
    with target.in_kdb() as kdb:
        kdb.clear(point)
    target.must_tick()


def events(target: Target) -> str:
    """Return a command that opens OPENED events of perf."""
    with target.in_kdb() as kdb:
        return f"tally x:{kdb.address(CODE):#x} " * OPENED + "busybox true"


def stops(target: Target) -> None:
    """A breakpoint of kdb's where perf's are installed is hit, and can be stepped from."""
    with target.stopped_at(INSTALLS, events(target)) as stopped:
        stopped.clear()
        for step in target.steps_to_a_return(STEPS):
            step.must_follow_program_order()
    target.must_tick()


def counts(target: Target) -> None:
    """A breakpoint of perf's where perf's are installed counts each later one."""
    command = events(target)
    with target.in_kdb() as kdb:
        address = kdb.address(INSTALLS)
    found = target.run(f"tally x:{address:#x} {command}").figures
    target.metrics["hits"] = found["hits"]
    must_not_be_missed(found["hits"], OPENED, "events")
    target.must_tick()


@session(
    claim="A breakpoint where the kernel installs breakpoints is refused, or hit and passed.",
    cases=checks(refused, stops, counts, writes, flushes),
    needs=("CONFIG_KGDB_HONOUR_BLOCKLIST",),
    requires={Capability.FRESH_BOOT: "it may end the kernel"},
    unsettled=BY_NIGHT,
    area="break- and watchpoints",
)
def breakpoint_on_itself(target: Target, check: Check) -> None:
    """Set a breakpoint, and see."""
    check.run(target)
