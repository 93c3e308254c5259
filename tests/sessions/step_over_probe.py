# SPDX-License-Identifier: GPL-2.0-only
"""Does a step over a kprobe end after the probed instruction?

Claim: it does. Not raised in the review; a path that a developer steps may well be traced. A
kprobe replaces the instruction with a BRK; its handler runs the instruction in a slot that ends
with another BRK, and then returns (arch/arm64/kernel/probes/kprobes.c). Before 5.11 it used
single-stepping for that, which it would have had to share with the debugger.

By the architecture: as with a WARN_ON(), the BRK is entered with SPSR.SS set and D masked. The
slot runs with D masked too (kprobes_save_local_irqflag()), so its ERET leaves PSTATE.SS
clear, and so does the BRK that ends it; the last ERET then restores a step that has nothing
left to run, and it traps at once: right after the probed instruction. If the instruction is
simulated there is no slot, and one more instruction runs.

Measured: steps from a breakpoint to a function with a kprobe on it, over the probe, and further.
The probe is that of fail_function, set to let every call through.

As in step-into-fault, no variant closes one window: an interrupt that becomes pending while D
is masked is taken before the step traps that has nothing left to run, with SPSR.SS clear, so
1/2 does not see that a step is active, and the step traps in the interrupt's entry (seen in 4
of 52 walks with both patches, on a busy host). So the path is walked again until most walks meet
none; `windows` counts those that do, which is no fault then.

Refuted by a step that ends elsewhere (`stuck`, `enters-interrupt`, `off-order`, `runaway`),
by a `hang` or a splat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.session.session import Unless, session

if TYPE_CHECKING:
    from kstep.session.target import Target

# mm/slab_common.c: every slab allocation calls it (since 6.11 only with CONFIG_FAILSLAB, in
# mm/failslab.c)
PROBED = "should_failslab"
INJECT = "/sys/kernel/debug/fail_function/inject"
FUNCTION = "alloc_pipe_info"  # fs/pipe.c: first allocates the pipe
TRIGGER = "syscall pipe2 1 @ 0"
AFTERWARDS = 12


@session(
    claim="A step over a kprobe ends after the probed instruction.",
    needs=("CONFIG_FAIL_FUNCTION",),
    # clang 19 with thin LTO, 6.1, with CONFIG_FAILSLAB and without: nothing calls it.
    unless=(Unless("CONFIG_LTO_CLANG", f"{PROBED}() is inlined"),),
    area="steps",
)
def step_over_probe(target: Target) -> None:
    """Step up to a kprobe, over it, and further."""
    if target.ask(f"echo {PROBED} > {INJECT}").status:
        raise MachineryError(f"this kernel refuses a probe on {PROBED}()")
    for walk in target.walks():
        with target.stopped_at(FUNCTION, TRIGGER):
            probed = target.kdb.address(PROBED)
            target.step_to(probed)
            if target.step_over_brk(probed, walk):
                for step in target.steps_to_a_return(AFTERWARDS):
                    step.must_follow_program_order()
    target.run(f"echo '!{PROBED}' > {INJECT}")
    target.must_tick()
