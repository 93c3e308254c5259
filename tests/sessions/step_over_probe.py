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

As in step-into-fault there is a window that no variant closes: an interrupt that falls due
while D is masked is taken before the step that has nothing left to run traps, with SPSR.SS
clear, so 1/2 does not know it for one during a step, and the step traps in its entry (seen in
4 of 52 walks with both patches, on a machine busy with other work). The path is walked up to
three times; `windows` counts those, and it is no fault while another walk ends behind the probe.

Refuted by a step that ends elsewhere (`stuck`, `enters-interrupt`, `off-order`, `runaway`),
by a `hang` or a complaint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

# mm/slab_common.c: every allocation from a slab asks it (from 6.11 on with CONFIG_FAILSLAB alone,
# in mm/failslab.c)
PROBED = "should_failslab"
INJECT = "/sys/kernel/debug/fail_function/inject"
FUNCTION = "alloc_pipe_info"  # fs/pipe.c: allocates the pipe first of all
TRIGGER = "syscall pipe2 1 @ 0"
AFTERWARDS = 12


@session(
    claim="A step over a kprobe ends behind the probed instruction.",
    needs=("CONFIG_FAIL_FUNCTION",),
    area="steps",
)
def step_over_probe(target: Target) -> None:
    """Step up to a kprobe, over it, and on."""
    if target.ask(f"echo {PROBED} > {INJECT}").status:
        raise MachineryError(f"this kernel takes no probe on {PROBED}()")
    for walk in target.walks():
        with target.stopped_at(FUNCTION, TRIGGER):
            probed = target.kdb.address(PROBED)
            target.step_to(probed, 300)
            if target.step_over_brk(probed, walk):
                for step in target.steps_to_a_return(AFTERWARDS):
                    step.must_follow_program_order()
    target.run(f"echo '!{PROBED}' > {INJECT}")
    target.must_tick()
