# SPDX-License-Identifier: GPL-2.0-only
"""Are a tracer's steps in order around signals and system calls?

Claim: each request of ptrace leads to the stop that the next instruction means. Not raised in the
review; step and kind of stop share SPSR.SS and TIF_SINGLESTEP with everything that the kernel does
on the way out to user space (arch/arm64/kernel/ptrace.c, signal.c). ptrace-step steps with
PTRACE_SINGLESTEP alone, and its program blocks no signal.

Measured: where each stop of a program is, and by which signal, in 100 rounds of a block, while an
interrupt comes every 100 microseconds. `blocked`: SIGTRAP is blocked before each step (by
PTRACE_SETSIGMASK, because a stop that is forced unblocks it). `handled`: it sends itself a signal,
whose handler a step enters, and another leaves. `syscall`: PTRACE_SYSCALL stops before and behind
a system call, between steps. `emulated`: PTRACE_SYSEMU_SINGLESTEP stops once at a system call,
which the kernel does not make, and the next step is behind the next instruction, as x86 has it.
`trapped`: a step over an instruction that the kernel emulates ends behind it
(arm64_skip_faulting_instruction() in traps.c). `forked`: what a stepped program forks is neither
stepped, nor has the tracer's breakpoint, and ends with status 0.

Refuted by a stop elsewhere or by another signal (`wrong-result`), or by a child that runs on
(`hang`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

ROUNDS = 100  # of about ten stops each
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class Mode:
    """What is stepped; the name is that of the mode of tests/guest/traced.c."""

    name: str


def must_stop_as_asked(target: Target, mode: str, rounds: int, seconds: float = 30) -> None:
    """Have a child stepped; raise KernelFault ``wrong-result`` if one of its stops is another."""
    answer = target.run(f"traced {mode} {rounds} {OFTEN}", seconds)
    found = answer.figures
    target.metrics.update(found)
    if found["wrong"]:
        raise KernelFault(
            Signature.WRONG_RESULT,
            f"in round {found['rounds']}: {answer.text.splitlines()[0]}",
        )


@session(
    claim="A tracer's steps are in order around signals and system calls.",
    cases=(
        Mode("blocked"),
        Mode("handled"),
        Mode("syscall"),
        Mode("emulated"),
        Mode("trapped"),
        Mode("forked"),
    ),
    area="user space",
)
def ptrace_stops(target: Target, mode: Mode) -> None:
    """Step a child with other requests between the steps."""
    must_stop_as_asked(target, mode.name, ROUNDS)
