# SPDX-License-Identifier: GPL-2.0-only
"""Does the CPU execute exactly one instruction a step, by the emulator's own record?

Claim: kdb's word for it is not needed. Every other session reads from kdb where a step stopped,
and so believes the kernel under test. A kernel that runs an instruction unseen, or runs one
twice, and then reports the right PC and registers, passes them. Not raised in the review.

Measured: QEMU's TCG records, by a plugin (kstep/machine/recorder.c), what the CPU executes between
the return from kgdb's exception and the next call of kgdb: the instructions of the stepped context,
and each exception that interrupts it, with the number of its instructions. Steps through code with
interrupts on, while the tick is pending, and through code that turns them off and on.

Refuted by a step that executes anything but its instruction, once (`runaway`, `stuck`), or
ends in a handler (`enters-interrupt`), or leaves program order, as in `step-in-order`; and by a
path on which no interrupt was handled, although the tick is due: it is masked while the kernel is
stepped, and of handlers nothing was tested (`missed-hits`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.session.target import Target

STEPS = 150

FUNCTIONS = (
    # fs/namei.c: a long path through the file system, with interrupts on
    Stepped("vfs_mkdir", "mkdir /tmp/made", "interrupts on"),
    # kernel/time/itimer.c: spin_lock_irq(), and the timer base's lock in it
    Stepped("__arm64_sys_getitimer", "syscall getitimer 1 0 @", "interrupts off and on"),
)


@session(
    claim="The CPU executes exactly one instruction a step.",
    cases=FUNCTIONS,
    hardware=Hardware(recorded=True),
    area="steps",
)
def step_executed(target: Target, function: Stepped) -> None:
    """Step a function, and compare each step with the emulator's record."""
    interrupts = handled = 0
    with target.stopped_at(function.name, function.trigger):
        for step in target.steps_to_a_return(STEPS):
            step.must_follow_program_order()
            for each in step.must_execute_once().interruptions:
                interrupts += 1
                handled += each.instructions or 0
    target.metrics.update(interrupts_handled=interrupts, handler_instructions=handled)
    if not interrupts:
        raise KernelFault(
            Signature.MISSED_HITS, f"no interrupt came in the steps of {function.name}"
        )
