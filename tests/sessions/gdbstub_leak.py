# SPDX-License-Identifier: GPL-2.0-only
"""Does a step by QEMU's gdbstub change what the guest's kernel does, under KVM?

Claim: patch 1/2 takes a set SPSR.SS for a step of the kernel's own debugger, so it does not
reschedule on exit from such an interrupt, and puts MDSCR_EL1 back as it was at its entry. Not
raised in the review. KVM sets the step bit in the guest's own PSTATE (kvm_arm_setup_debug() in
arch/arm64/kvm/debug.c); an interrupt that comes first saves it in SPSR_EL1, where the guest's
kernel sees it, though it has stepped nothing.

Measured, after steps by the stub that ended in the vector, with SPSR_EL1.SS set or not:

- `preemption`: a SCHED_FIFO thread sleeps for 500 us at a time beside the stepped task. The guest
  continues to the interrupted instruction, with breakpoints on the thread's timer,
  hrtimer_wakeup(), and on preempt_schedule_irq(): how often the interrupt woke the thread, and how
  often the thread then got the CPU before the interrupted code did.
- `kgdb`: on its way out of that interrupt, with debug exceptions masked, the guest enters its own
  kdb: whether an `ss` from there, which can end only behind the ERET, comes back to kdb. The stub
  has no breakpoint then, and does not step: with either, KVM keeps the guest from stepping itself.

- `perf`: with no step at all, the hits of perf's breakpoint on a system call, against the calls:
  while the stub has no breakpoint, and then while it has one, which is not reached.

Refuted if the interrupted code goes on first in more than half of the cases (`lost-preemption`);
by an `ss` that does not come back (`runaway`, or a `splat`: kgdb still has its lock); by hits that
are not counted (`missed-hits`), or a panic (`splat`), not by hits that are counted twice, which is
the claim of watch-in-interrupt. While the stub steps or has a breakpoint, KVM (6.1, 6.12) routes
the guest's own debug exceptions to QEMU, which gives back what is not the stub's with the syndrome
of an exception to EL2, "from a lower EL": kvm_arm_handle_debug() in QEMU's target/arm/kvm64.c
(kvm.c since 9.0), `env->exception.syndrome = debug_exit->hsr`. No kernel expects that
(el1h_64_sync_handler() in arch/arm64/kernel/entry-common.c). On a host of 7.2 nothing is hit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.arm64.daif import masks_debug
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.machine.capability import Capability
from kstep.session.hits import must_not_be_missed
from kstep.session.session import session
from tests.session_parts.stub_calls import LONG, TICK, Context, end, land
from tests.sessions.gdbstub_onward import HARDWARE, TRIGGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.gdb import Gdb
    from kstep.console.kdb import Breakpoint
    from kstep.session.target import Target

SLEEPER = "sleeper --fifo 50 500 1000000"
WAKES, PREEMPTS = "hrtimer_wakeup", "preempt_schedule_irq"  # kernel/time/hrtimer.c, sched/core.c
LANDINGS = 30
ENOUGH = 5  # of them, at least, must wake the thread
STOPS = 50  # until the interrupted instruction is reached
SS = 1 << 21  # in an SPSR

EXITS = "irq_exit_rcu"  # kernel/softirq.c: its caller has only the interrupt's exit left to do
UNCALLED = "__arm64_sys_getitimer"  # nobody calls it
CALLED = "__arm64_sys_settimeofday"  # tests/guest/hits.c calls it
ENTERED = ("generic_handle_domain_irq", "__handle_domain_irq")  # by each interrupt; since 5.14
INTERRUPTS = 20
ENTRIES = 3  # of kdb
OUT = 300  # steps until the exit masks debug exceptions; with 6.1 they are some 30
TRIALS = 10  # landings, until one does not reschedule
FEW = 200  # calls, of which no debugger ends the rest


@dataclass(frozen=True)
class Affected:
    """What a step of the stub may change."""

    name: str
    look: Callable[[Target], None]


def preemption(target: Target) -> None:
    """Let steps end in the vector, and look who gets the CPU after the interrupt."""
    set_, woken, preempted = 0, 0, 0
    with (
        target.in_gdbstub(1) as gdb,
        target.running(f"{SLEEPER} & {TRIGGER}; kill $!; wait", LONG),
    ):
        for _ in range(LANDINGS):
            interrupted, call = land(target, gdb)
            set_ += is_set(gdb)
            wakes, preempts = handle(gdb, interrupted)
            woken += wakes
            preempted += wakes and preempts
            call.leave(gdb)
        end(target, gdb)
    target.metrics |= {
        "landings": LANDINGS,
        "spsr_ss_set": set_,
        "woken": woken,
        "preempted": preempted,
    }
    if woken < ENOUGH:
        raise MachineryError(
            f"of {LANDINGS} interrupts only {woken} woke the thread, so nothing was tested"
        )
    if 2 * preempted < woken:
        raise KernelFault(
            Signature.LOST_PREEMPTION,
            f"{woken} interrupts woke a thread of higher priority, and {preempted} of them"
            f" preempted what the stub had stepped; SPSR_EL1.SS was set in {set_} of {LANDINGS}",
        )


def is_set(gdb: Gdb) -> bool:
    """Whether the interrupt at whose vector the guest is has saved a step bit."""
    return bool(gdb.value("$SPSR_EL1") & SS)


def handle(gdb: Gdb, interrupted: Context) -> tuple[bool, bool]:
    """Let the interrupt be handled; whether it wakes the thread, and whether it reschedules."""
    points = {gdb.breakpoint(name): name for name in (WAKES, PREEMPTS)}
    end_ = gdb.breakpoint(interrupted.pc)
    seen: set[str] = set()
    for _ in range(STOPS):
        gdb.resume()
        pc = gdb.wait("stop after the interrupt", Signature.RUNAWAY).pc
        seen |= {name for point, name in points.items() if point.address == pc}
        back = pc == interrupted.pc and gdb.registers()["sp"] == interrupted.sp
        if back or PREEMPTS in seen:
            break
    for point in (*points, end_):
        gdb.clear(point)
    return WAKES in seen, PREEMPTS in seen


def kgdb(target: Target) -> None:
    """Let steps end in the vector, and the guest's kdb step out of the interrupt."""
    for number in range(1, ENTRIES + 1):
        with target.in_kdb() as kdb:
            brk = kdb.breakpoint(UNCALLED)
        with (
            target.in_gdbstub(1) as gdb,
            target.running(f"jitter {TICK} {FEW}", LONG),
        ):
            target.metrics["spsr_ss_set"] = target.metrics.get("spsr_ss_set", 0) + leave(
                target, gdb
            )
            enter_kdb(target, gdb, brk)
            target.step_unjudged()
            target.metrics["came_back"] = number
            target.go()


def leave(target: Target, gdb: Gdb) -> bool:
    """Go to where an interrupt at whose vector a step has ended masks debug exceptions again.

    Not if it reschedules. Whether the interrupt had saved a step bit.
    """
    for _ in range(TRIALS):
        _, call = land(target, gdb, FEW // TRIALS)
        saved = is_set(gdb)
        if masks_on_its_way_out(gdb):
            return saved
        call.leave(gdb)
    raise MachineryError(f"{TRIALS} interrupts have rescheduled, so nothing was tested")


def masks_on_its_way_out(gdb: Gdb) -> bool:
    """Step out of an interrupt to behind the mask; False if it reschedules before."""
    leaves = gdb.breakpoint(EXITS)
    gdb.resume()
    gdb.wait(f"stop in {EXITS}()", Signature.RUNAWAY)
    gdb.clear(leaves)
    registers = gdb.registers()
    pc = registers["x30"]
    Context(pc, registers["sp"]).reach(gdb, f"end of {EXITS}()")
    reschedules = gdb.value(f"&{PREEMPTS}")
    for _ in range(OUT):
        if pc == reschedules:
            return False
        masked = masks_debug(int.from_bytes(gdb.read(pc, 4), "little"), gdb.registers)
        gdb.step_instruction()  # in order, because interrupts are masked
        pc = gdb.registers()["pc"]
        if masked:
            return True
    raise MachineryError(f"{OUT} steps from the end of {EXITS}() mask no debug exceptions")


def enter_kdb(target: Target, gdb: Gdb, brk: Breakpoint) -> None:
    """Let the guest enter its kdb where debug exceptions are masked: no step traps, but a BRK.

    The text there has no breakpoints (noinstr), so the stub moves the PC to one of kdb's, and kdb
    moves it back.
    """
    pc = gdb.registers()["pc"]
    gdb.type(f"set $pc = {brk.address:#x}")
    target.release_from_gdb(gdb)
    target.expect_breakpoint(brk)
    target.kdb.clear(brk)
    target.kdb.command(f"rm pc {pc:#x}")


def perf(target: Target) -> None:
    """Have perf's breakpoints hit while the stub has none, and then while it has one."""
    with target.in_kdb() as kdb:
        call, irq = kdb.address(CALLED), kdb.address(target.known(*ENTERED))
    command = f"hits {INTERRUPTS} 0 x:{irq:#x} x:{call:#x}"
    for points in ((), (UNCALLED,)):
        with target.in_gdbstub(1) as gdb, target.running(command, LONG) as ended:
            for point in points:
                gdb.breakpoint(point)
            gdb.resume()
        counted = ended[0].figures
        hits, calls = counted["call_hits"], counted["calls"]
        beside = "a_breakpoint" if points else "none"
        target.metrics |= {f"hits_beside_{beside}": hits, f"calls_beside_{beside}": calls}
        must_not_be_missed(hits, calls, "calls")


@session(
    claim="After a step by QEMU's gdbstub, the guest's kernel does what it does without one.",
    cases=(
        Affected("preemption", preemption),
        Affected("kgdb", kgdb),
        Affected("perf", perf),
    ),
    hardware=HARDWARE,
    needs=("CONFIG_PREEMPT",),
    requires={
        Capability.GDBSTUB: "it has gdb on QEMU's own gdbstub",
        Capability.GDBSTUB_BY_KVM: "it asks what KVM's step leaves behind",
        Capability.MEMORY_WITHOUT_KDB: "it reads each instruction while that gdb steps",
    },
    area="preemption",
)
def gdbstub_leak(target: Target, affected: Affected) -> None:
    """Let steps end in the vector, or the stub have a breakpoint, and look at what that changed."""
    affected.look(target)
