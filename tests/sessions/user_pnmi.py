# SPDX-License-Identifier: GPL-2.0-only
"""Are steps and hits of user space right with pseudo-NMI, if work is due on the way out?

Claim: they are, and they leave interrupts masked in one way only: by the GIC's priority. Not
raised in the review, which named pseudo-NMI for steps of the kernel. Before ea0d55ae4b32 (v6.17)
the end of the kernel's step over a breakpoint of user space left PSTATE.I set as well, so that
what was due then ran with interrupts off: "subsequent irq flag manipulation may not work
correctly".

Measured with irqchip.gicv3_pseudo_nmi=1. `executed`, `written`: what watch-preempted does: hits in
user space against passes, while another CPU wakes a real-time task, so that there is a switch to
do.
`stepped`: ptrace-step[alone], whose signals are due at the end of a step. With kconfig pnmi the
kernel checks at each change of its masks that interrupts are not masked both ways.

Refuted by what refutes these sessions, or by a splat of the kernel's check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.machine.hardware import Hardware
from kstep.session.session import BY_NIGHT, session
from tests.sessions.ptrace_step import Debuggers, ptrace_step
from tests.sessions.watch_preempted import WATCHED, wake_beside

if TYPE_CHECKING:
    from kstep.session.target import Target


@dataclass(frozen=True)
class Due:
    """What ends in user space with work due: a hit, or a step."""

    name: str


@session(
    claim="With pseudo-NMI, steps and hits of user space are right if work is due on the way out.",
    cases=tuple(map(Due, (*WATCHED, "stepped"))),
    hardware=Hardware(cpus=2, parameters="irqchip.gicv3_pseudo_nmi=1"),
    needs=("CONFIG_ARM64_DEBUG_PRIORITY_MASKING",),
    unsettled=BY_NIGHT,
    area="user space",
)
def user_pnmi(target: Target, due: Due) -> None:
    """Count hits, or step, with the masks checked."""
    if due.name == "stepped":
        ptrace_step(target, Debuggers("alone"))
    else:
        wake_beside(target, due.name)
