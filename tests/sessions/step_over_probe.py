# SPDX-License-Identifier: GPL-2.0-only
"""Does a step over a kprobe end behind the probed instruction?

Claim: none was made in the review; a path that a developer steps may well be traced. A
kprobe is a BRK in place of the instruction; its handler has the instruction run elsewhere, in a
slot with another BRK behind it, and then goes back (arch/arm64/kernel/probes/kprobes.c).
Before 5.11 it used the single step for that, which it would have had to share.

What the architecture makes of it: as with a WARN_ON(), the BRK is entered with SPSR.SS set
and D masked. The slot is run with D masked too (kprobes_save_local_irqflag()), so its ERET
leaves PSTATE.SS clear, and so does the BRK behind it; the last ERET then restores a step
that has nothing left to run, and it traps at once: right behind the probed instruction. Where
the instruction is simulated there is no slot, and one instruction more is run.

Measured: steps from a breakpoint to a function with a kprobe on it, over the probe, and on.
The probe is that of fail_function, told to let every call through.

Refuted by a step that ends elsewhere (`stuck`, `enters-interrupt`, `off-order`, `runaway`),
by a `hang` or a complaint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.errors import MachineryError
from kstep.outcome import KernelFault, Signature
from kstep.session import session

if TYPE_CHECKING:
    from kstep.target import Target

PROBED = "should_failslab"  # mm/slab_common.c: every allocation from a slab asks it
INJECT = "/sys/kernel/debug/fail_function/inject"
FUNCTION = "alloc_pipe_info"  # fs/pipe.c: allocates the pipe first of all
TRIGGER = "syscall pipe2 1 @ 0"
AFTERWARDS = 12


@session(claim="A step over a kprobe ends behind the probed instruction.")
def step_over_probe(target: Target) -> None:
    """Step up to a kprobe, over it, and on."""
    target.run(f"echo {PROBED} > {INJECT}")
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint(FUNCTION)
        probed = kdb.address(PROBED)
    with target.running(TRIGGER):
        target.expect_breakpoint(stop_here)
        reached = False
        for step in target.steps(300):
            step.must_follow_program_order()
            reached = step.after.address == probed
        if not reached:
            raise MachineryError(f"the path from {FUNCTION} does not end at the probe")
        unseen = target.successors(probed + 4)
        behind = target.place(target.step_unjudged())
        if behind.address not in {probed + 4, *unseen}:
            raise KernelFault(Signature.OFF_ORDER, f"the step over the probe ended at {behind}")
        target.metrics["unseen_instructions"] = int(behind.address != probed + 4)
        for step in target.steps_to_a_return(AFTERWARDS):
            step.must_follow_program_order()
        kdb.clear(stop_here)
        target.go()
    target.run(f"echo '!{PROBED}' > {INJECT}")
    target.must_tick()
