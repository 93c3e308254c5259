# SPDX-License-Identifier: GPL-2.0-only
"""Do steps follow program order when the next stop is on another CPU?

Claim: they do, on each CPU in turn. Not raised in the review; a debugger that steps one CPU, and
is then called by another, is everyday. What the kernel remembers of a step (MDSCR_EL1, SPSR, the
CPU that kgdb steps) must be that of the CPU that is stepped now.

Measured: on two CPUs, a function is reached on the first, stepped, and left with `go`; then on the
second, and so on, in four stops. `tasks`: a task on each CPU reaches it, beside a busy loop on the
other. `one_task`: one task moves from one CPU to the other. At the end a step is left owed by
neither: both CPUs must run tasks and wake them.

Refuted by a step that leaves program order, as in step-in-order, a stop on the wrong CPU
(`wrong-result`), a CPU that does not answer (`hang`), or a splat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

CPUS, ROUNDS = 2, 2
STEPS = 30
REACHED = "__arm64_sys_getitimer"  # kernel/time/itimer.c: nobody else calls it
TASKS = "; ".join(f"taskset {1 << cpu:x} syscall getitimer 1 0 @" for cpu in range(CPUS))
LOOPS = "; ".join(
    f"taskset {1 << cpu:x} sh -c 'while :; do :; done' & pids=\"$pids $!\"" for cpu in range(CPUS)
)


@dataclass(frozen=True)
class Reaching:
    """The command that reaches the function on each CPU in turn, and whether the CPUs are busy."""

    name: str
    trigger: str
    busy: bool


@session(
    claim="Steps follow program order when the next stop is on another CPU.",
    cases=(
        Reaching("tasks", f"for i in $(seq {ROUNDS}); do {TASKS}; done", busy=True),
        Reaching("one_task", f"hops {ROUNDS}", busy=False),
    ),
    hardware=Hardware(cpus=CPUS),
    area="steps",
)
def step_other_cpu(target: Target, reaching: Reaching) -> None:
    """Step on each CPU in turn."""
    if reaching.busy:
        target.run(f"pids=; {LOOPS}")
    with target.stopped_at(REACHED, reaching.trigger) as stopped:
        for number, stop in enumerate(stopped.times(CPUS * ROUNDS)):
            if stop.cpu != number % CPUS:
                raise KernelFault(Signature.WRONG_RESULT, f"stop {number + 1} is on CPU {stop.cpu}")
            for step in target.steps_to_a_return(STEPS):
                step.must_follow_program_order()
    if reaching.busy:
        target.run("kill $pids; wait")
    target.run("cpus")
    target.must_tick()
