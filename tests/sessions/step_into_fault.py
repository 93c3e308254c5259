# SPDX-License-Identifier: GPL-2.0-only
"""Where does a step of an instruction that faults end?

Claim: a step works even if the stepped instruction itself raises an exception: the step ends
in the exception's entry, and the fault is fixed up as usual. Not raised in the review; but 1/2
recognises an interrupt during a step by SPSR.SS, which is set on entry from a fault too
(Arm ARM, D2.11: the instruction has not been completed).

By the architecture: the fault is taken with D masked, el1_abort() unmasks it
(local_daif_inherit() in arch/arm64/kernel/entry-common.c), and right after that `msr daif`, with
PSTATE.SS clear, the step traps. From there the handler can be stepped until it masks D. The next
step runs through the ERET, which restores SPSR.SS, so one more instruction runs, the first of the
fixup, and the step ends after it, in the function that faulted.

Measured: get_user() and copy_from_user() of a bad address, stepped from the system call's
entry into the fault, through its handler and out of it; the system call must fail with EFAULT.
And copy_to_user() to a page of the program that was never touched: the handler finds the page, the
return leads to the store again, and the system call must succeed, as it does without a debugger.
With 1/2 it fails with EFAULT: kgdb holds dbg_slave_lock over a step (kernel/debug/debug_core.c),
whose preempt_disable() counts for the stepped code, and do_page_fault() (arch/arm64/mm/fault.c)
does not look at mappings where faulthandler_disabled(), which in_atomic() is part of.

No variant closes one window: an interrupt between the fault and the unmasking is taken with
SPSR.SS clear, so 1/2 does not see that a step is active, and the step traps in the interrupt's
entry. The window is a few microseconds wide, so a tick must become pending just then (seen
with v6/1+2 once in about 20, on a busy host). So the path is walked again until most walks meet
none; `windows` counts those that do, which is no fault then if it is the step that faults.

Refuted by a step that ends elsewhere (`stuck`, `enters-interrupt`, `off-order`,
`runaway`), by a wrong result (`wrong-result`), by a `hang` or a splat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.session.session import Stepped, session
from kstep.session.stepping import LONG_PATH

if TYPE_CHECKING:
    from kstep.image.symbols import CodeAddress
    from kstep.session.stepping import Walk, Window
    from kstep.session.target import Target

# kernel/sys.c; tests/guest/fresh.c prints why it failed, if it did
GOOD = Stepped("__arm64_sys_times", "fresh", "copy_to_user() of a good page")
FUNCTIONS = (
    # kernel/sched/core.c: reads the size with get_user()
    Stepped("__arm64_sys_sched_setattr", "! syscall sched_setattr 1 0 0x1000 0", "get_user()"),
    # kernel/time/hrtimer.c: reads the time with copy_from_user(), whose loads are in arch/arm64/lib
    Stepped("__arm64_sys_nanosleep", "! syscall nanosleep 1 0x1000", "copy_from_user()"),
    GOOD,
)


@session(
    claim="A step of a faulting instruction ends in the fault's entry; later steps return from it.",
    cases=FUNCTIONS,
    area="steps",
)
def step_into_fault(target: Target, function: Stepped) -> None:
    """Step into a fault, through its handler, and out of it."""
    faulted: CodeAddress | None = None
    windows: tuple[Window, ...] = ()
    for walk in target.walks():
        windows = walk.earlier
        with target.stopped_at(function.name, function.trigger) as stop:
            faulted = step_through(target, walk)
        said = stop.answer.text.strip()
        if function == GOOD and said:
            raise KernelFault(Signature.WRONG_RESULT, f"the access of a good page failed: {said}")
        if function != GOOD and "EFAULT" not in said:
            raise KernelFault(Signature.WRONG_RESULT, f"not EFAULT: {said}")
    for window in windows:
        if window.before != faulted:
            raise window.fault
    target.must_tick()


def step_through(target: Target, walk: Walk) -> CodeAddress | None:
    """Step to the fault and out of it; return the address of the instruction that faults.

    None if a step ended in an interrupt instead, which the walk records.
    """
    faulted: CodeAddress | None = None
    masks: CodeAddress | None = None  # the steps end at the instruction that masks D
    # About 380 steps if the handler gives up at once, some thousand if it finds a page.
    for step in target.steps(LONG_PATH):
        masks = step.after
        if not step.in_order and target.is_unmasked_in_fault(step.after):
            faulted = step.before
        elif walk.met_interrupt(step):
            return None
        if step.number == LONG_PATH:
            raise MachineryError(f"the path does not end within {LONG_PATH} steps")
    if faulted is None or masks is None:
        raise MachineryError("the path has no instruction that faults")
    end = target.step_past_mask(masks)
    fixup = target.fixup(faulted.address)
    if fixup is None:
        raise MachineryError(f"the exception table has no fixup for {faulted}")
    # It leads to the fixup, or, if the page is there now, to the access again. The return from the
    # step may have SPSR.SS set, as from any exception: one more instruction.
    returns = (fixup, faulted.address)
    if end.address not in {*returns, *(each for at in returns for each in target.successors(at))}:
        raise KernelFault(
            Signature.OFF_ORDER, f"the step out of the fault at {faulted} ended at {end}"
        )
    return faulted
