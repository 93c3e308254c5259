# SPDX-License-Identifier: GPL-2.0-only
"""What does a step of an instruction that faults come to?

Claim: a step and an exception of the stepped instruction itself go together: the step ends
in the exception's entry, and what it was that faulted is mended as ever. Nobody in the
review spoke of it; but 1/2 takes SPSR.SS for the sign of an interrupt during a step, and a
fault is entered with it set too (Arm ARM, D2.11: the instruction has not been completed).

What the architecture makes of it: the fault is taken with D masked, el1_abort() unmasks it
(local_daif_inherit() in arch/arm64/kernel/entry-common.c), and right behind that `msr daif`,
with PSTATE.SS clear, the step traps. From there on the handler can be stepped, up to where it
masks D. The next step runs through the ERET; that restores SPSR.SS, so one instruction more is
run, the first of the fix-up, and the step ends behind it, in the function that faulted.

Measured: get_user() and copy_from_user() of a bad address, stepped from the system call's
entry into the fault, through its handler and out of it; the system call must fail with EFAULT.

There is a window that no variant closes: an interrupt that comes between the fault and the
unmasking is taken with SPSR.SS clear, so 1/2 does not know it for one during a step, and the
step traps in its entry. It is some microseconds wide, so it takes a tick that falls due just
there (seen with v6/1+2 once in some 20, on a machine busy with other work). The path is
walked up to three times; `windows` counts those, and it is no fault of it while another
walk shows that the very same step goes where it should.

Refuted by a step that ends elsewhere (`stuck`, `enters-interrupt`, `off-order`,
`runaway`), by another result (`wrong-result`), by a `hang` or a complaint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.arm64 import daif
from kstep.arm64.entry import SYNCHRONOUS, entered_by
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.judge.backtrace import recorded
from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.image.symbols import Place
    from kstep.session.stepping import Walk, Window
    from kstep.session.target import Target

FUNCTIONS = (
    # kernel/sched/core.c: the size, by get_user()
    Stepped("__arm64_sys_sched_setattr", "syscall sched_setattr 1 0 0x1000 0", "get_user()"),
    # kernel/time/hrtimer.c: the time, by copy_from_user(), with its loads in arch/arm64/lib
    Stepped("__arm64_sys_nanosleep", "syscall nanosleep 1 0x1000", "copy_from_user()"),
)
# At the most. Where kgdb holds a lock over a step, what is stepped is in_atomic(), and
# do_page_fault() (arch/arm64/mm/fault.c) gives up without a look at the mappings: some 380 steps in
# all. With v7, where it holds none, they are twice as many.
STEPS = 2000
INSTRUCTION = 4  # bytes


@session(
    claim="A step of an instruction that faults ends in the fault's entry, and later behind it.",
    cases=FUNCTIONS,
    area="steps",
)
def step_into_fault(target: Target, function: Stepped) -> None:
    """Step into a fault, through its handler, and out of it."""
    faulted: Place | None = None
    windows: tuple[Window, ...] = ()
    for walk in target.walks():
        windows = walk.earlier
        with target.stopped_at(function.name, f"! {function.trigger}") as stop:
            faulted = step_through(target, walk)
        said = stop.answer.text
        if "EFAULT" not in said:
            raise KernelFault(Signature.WRONG_RESULT, f"not EFAULT: {said.strip()}")
    for window in windows:
        if window.place != faulted:
            raise window.fault
    target.must_tick()


def step_through(target: Target, walk: Walk) -> Place | None:
    """Step to the fault and out of it; return the place of the instruction that faults.

    None if a step ended in an interrupt instead, which the walk takes note of.
    """
    faulted: Place | None = None
    masks: Place | None = None  # where the steps end: at the instruction that masks D
    for step in target.steps(STEPS):
        masks = step.after
        if not step.in_order and is_in_fault(target, step.after):
            faulted = step.before
        elif walk.met_interrupt(step):
            return None
    if faulted is None or masks is None:
        raise MachineryError("the path has no instruction that faults")
    behind = target.step_past_mask(masks)
    goes_on = target.fixup(faulted.address)
    if goes_on is None:
        raise MachineryError(f"the kernel does not foresee a fault at {faulted}")
    # The step's own return may have SPSR.SS set, as from any exception: then one instruction more.
    if behind.address not in {goes_on, *target.successors(goes_on)}:
        raise KernelFault(
            Signature.OFF_ORDER, f"the step out of the fault at {faulted} ended at {behind}"
        )
    return faulted


def is_in_fault(target: Target, place: Place) -> bool:
    """Whether the kernel stopped right behind what unmasks D, on its way in from a fault.

    Which function that is depends on what the compiler has inlined, and is not asked.
    """
    unmasks = int.from_bytes(target.read(place.address - INSTRUCTION, INSTRUCTION), "little")
    if not daif.writes(unmasks):
        return False
    came_by = recorded(place.address, target.kdb.registers()["x29"], target.read)
    return entered_by(map(target.symbols.place, came_by)) == SYNCHRONOUS
