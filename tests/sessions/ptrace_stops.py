# SPDX-License-Identifier: GPL-2.0-only
"""Are a tracer's steps in order around signals, system calls and faults?

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
What else gdb does between steps: `faulted`: a step over an access of a page that was never touched
ends behind it. `broken`: a BRK stops before itself and is told as one, by a step and without, also
with the number that is kgdb's in the kernel; a step from where the tracer moved the program begins
there. `restarted`: a system call that a signal interrupts, which the tracer keeps back, is made
again, by the same step. `written`: the program has in its registers (general and vector ones,
flags, thread pointer) what the tracer wrote, and the other way round, on a CPU that nobody else
uses, so that it may still have the old ones. `several`: as many hardware breakpoints as there are,
at most four, one behind the other. `replaced`: behind execve() steps go on, and the tracer's
breakpoint is gone. `detached`: a program that is let go after a step runs on to its end.

Refuted by a stop elsewhere, or by another signal, or told otherwise, by a register with another
value, by a child that ends otherwise (`wrong-result`), or by one that runs on (`hang`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

ONE_CPU = Hardware()
ROUNDS, FEW = 100, 20  # of about ten stops each, or with a child of its own
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class Mode:
    """What is stepped; the name is that of the mode of tests/guest/traced.c."""

    name: str
    hardware: Hardware = ONE_CPU
    rounds: int = ROUNDS


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
    claim="A tracer's steps are in order around signals, system calls and faults.",
    cases=(
        Mode("blocked"),
        Mode("handled"),
        Mode("syscall"),
        Mode("emulated"),
        Mode("trapped"),
        Mode("forked"),
        Mode("faulted"),
        Mode("broken"),
        Mode("restarted"),
        Mode("written", Hardware(cpus=2), FEW),
        Mode("several"),
        Mode("replaced", rounds=FEW),
        Mode("detached", rounds=FEW),
    ),
    area="user space",
)
def ptrace_stops(target: Target, mode: Mode) -> None:
    """Step a child with other requests between the steps."""
    must_stop_as_asked(target, mode.name, mode.rounds)
