# SPDX-License-Identifier: GPL-2.0-only
"""Do steps follow program order while the kernel boots?

Claim: as they do later. Not raised in the review; bringing up a board is where many use kgdb. All
other sessions step when init runs: a kernel that does otherwise before it (system_state,
include/linux/kernel.h) passes them.

Measured: the boot waits for a debugger. `kgdbwait`: when kgdboc has its driver; from there at
least 30 steps, and from three initcalls (init/main.c). `early`: before the serial line has a
driver; eight stops at a short function that is called from then on. In both also from
kernel_execve(), when the kernel starts init; in each case on to the return from a function, and
`go`. Then the guest must come up, and its clock tick.

Refuted by a step that leaves program order, as in step-in-order, by a boot that does not
complete (`hang`), or by a splat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.arm64.branch import is_indirect_call
from kstep.machine.hardware import Hardware
from kstep.session.checks import Boot
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

INITCALL, INIT = "do_one_initcall", "kernel_execve"  # init/main.c, fs/exec.c
SHORT = "__init_waitqueue_head"  # kernel/sched/wait.c: a leaf, which whatever has sleepers calls
STEPS = 30


def step(target: Target, count: int = STEPS) -> None:
    """Step to a return from a function, so that `go` does no harm; see Step.returned."""
    for each in target.steps_to_a_return(count):
        each.must_follow_program_order()


def kgdbwait(target: Target) -> None:
    """Step where the boot waits, in initcalls, and on the way to init."""
    with target.coming_up():
        step(target)
        # Not from the start of do_one_initcall(): it compares its preemption count with a later
        # one, and kgdb's lock counts for what is stepped.
        calls = target.find(INITCALL, is_indirect_call)
        step_and_boot(target, calls, stops=3, count=STEPS)
    target.must_tick()


def early(target: Target) -> None:
    """Step a leaf, before the boot's end.

    Without its atomic operations as single instructions, which the kernel patches in when all CPUs
    are up (apply_alternatives_all()), hardly anything else can be stepped; see step-atomics.
    """
    with target.coming_up():
        step_and_boot(target, SHORT, stops=8, count=1)
    target.must_tick()


def step_and_boot(target: Target, reached: str | int, stops: int, count: int) -> None:
    """Step at what is reached on, at least ``count`` times a stop, and on the way to init."""
    kdb = target.kdb
    later, init = kdb.breakpoint(reached), kdb.breakpoint(INIT)
    for _ in range(stops):
        target.go()
        target.expect_breakpoint(later)
        step(target, count)
    kdb.clear(later)
    target.go()
    target.expect_breakpoint(init)
    step(target)
    kdb.clear(init)
    target.go()


BOOTS = (
    Boot(kgdbwait, Hardware(parameters="kgdbwait", waits=True)),
    Boot(early, Hardware(parameters="earlycon kgdboc_earlycon kgdbwait", waits=True)),
)


@session(claim="Steps follow program order while the kernel boots.", cases=BOOTS, area="steps")
def step_at_boot(target: Target, boot: Boot) -> None:
    """Run one check."""
    boot.run(target)
