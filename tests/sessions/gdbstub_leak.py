# SPDX-License-Identifier: GPL-2.0-only
"""Does a step by QEMU's gdbstub change what the guest's kernel does, under KVM?

Claim: patch 1/2 takes a set SPSR.SS for a step of the kernel's own debugger, and does not
reschedule on exit from such an interrupt. Not raised in the review. KVM sets the step bit in the
guest's own PSTATE (kvm_arm_setup_debug() in arch/arm64/kvm/debug.c); an interrupt that comes first
saves it in SPSR_EL1, where the guest's kernel sees it, though it has stepped nothing.

Measured: a SCHED_FIFO thread sleeps for 500 us at a time beside a task that is stepped by the stub.
After each step that ended in the vector the guest continues to the interrupted instruction, with
breakpoints on the thread's timer, hrtimer_wakeup(), and on preempt_schedule_irq(). The metrics
tell how often SPSR_EL1.SS was set, how often that interrupt woke the thread, and how often the
thread then got the CPU before the interrupted code did.

Refuted if the interrupted code goes on first in more than half of the cases (`lost-preemption`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.machine.capability import Capability
from kstep.session.session import session
from tests.session_parts.stub_calls import LONG, end, land
from tests.sessions.gdbstub_onward import HARDWARE, TRIGGER

if TYPE_CHECKING:
    from kstep.console.gdb import Gdb
    from kstep.session.target import Target
    from tests.session_parts.stub_calls import Context

SLEEPER = "sleeper --fifo 50 500 1000000"
WAKES, PREEMPTS = "hrtimer_wakeup", "preempt_schedule_irq"  # kernel/time/hrtimer.c, sched/core.c
LANDINGS = 30
ENOUGH = 5  # of them, at least, must wake the thread
STOPS = 50  # until the interrupted instruction is reached
SS = 1 << 21  # in an SPSR


@session(
    claim="After a step by QEMU's gdbstub ended in a vector, the interrupt preempts as ever.",
    hardware=HARDWARE,
    needs=("CONFIG_PREEMPT",),
    requires={
        Capability.GDBSTUB: "it has gdb on QEMU's own gdbstub",
        Capability.GDBSTUB_BY_KVM: "it asks what KVM's step leaves behind",
        Capability.MEMORY_WITHOUT_KDB: "it reads each instruction while that gdb steps",
    },
    area="preemption",
)
def gdbstub_leak(target: Target) -> None:
    """Let steps end in the vector, and look who gets the CPU after the interrupt."""
    set_, woken, preempted = 0, 0, 0
    with (
        target.in_gdbstub(1) as gdb,
        target.running(f"{SLEEPER} & {TRIGGER}; kill $!; wait", LONG),
    ):
        for _ in range(LANDINGS):
            interrupted, call = land(target, gdb)
            set_ += bool(gdb.value("$SPSR_EL1") & SS)
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
