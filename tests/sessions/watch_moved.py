# SPDX-License-Identifier: GPL-2.0-only
"""Do break- and watchpoints count that are set, moved and removed while a step is due?

Claim: one that is set counts all that follows, and what others are hit meanwhile is counted too.
Not raised in the review. A point is set by an interrupt from another CPU, or by a task that the
timer wakes, while the task that it is for has been stopped by another point, or by the debugger,
and owes a step: breakpoints are then switched off (bps_disabled, stepping_kernel_bp in
arch/arm64/kernel/hw_breakpoint.c), and with patch 1/2 MDSCR_EL1, which also enables them, is put
back as it was before the interrupt.

Measured: a task passes an instruction and a store of its own and two of the kernel, in a loop.
Another sets a point on each in turn, turns it off and on, moves it to the next instruction, and
takes it away. Each time, the hits are compared with the passes. What owes the steps: a breakpoint
of the task (`user_`), one of the kernel (`kernel_`), or kdb, which stops the task again and again
and steps it (`debugger_`); who sets points: a real-time task on the same CPU (`_irq`) or one on
another (`_cpu`).

Refuted by a point that is set and not hit, or seldom (`missed-hits`), or hit too often
(`double-hits`); and by a step that leaves program order, as in step-in-order.

6.1 and 7.2 as shipped fail in `user_cpu`: a kernel point that is set while a user breakpoint is
switched off is set switched off, and only the user's are switched on again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.hits import must_not_be_missed
from kstep.session.session import BY_NIGHT, session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.session.target import Target

CODE = "__arm64_sys_settimeofday"  # kernel/time/time.c: entered once a call
DATA = "sys_tz"  # written once a call
STOPS, STEPS = 20, 15
SECONDS = 60.0


@dataclass(frozen=True)
class Moving:
    """What has steps due, and who sets points; as in tests/guest/moved.c."""

    name: str
    steady: str
    who: str
    laps: int
    hardware: Hardware

    @property
    def is_debugged(self) -> bool:
        """Whether kdb steps the task."""
        return self.steady == "none"


ONE, TWO = Hardware(), Hardware(cpus=2)


@session(
    claim="A break- or watchpoint that is set while a step is due counts from then on.",
    cases=(
        Moving("user_irq", "user", "irq", 200, ONE),
        Moving("user_cpu", "user", "cpu", 40, TWO),
        Moving("kernel_irq", "kernel", "irq", 200, ONE),
        Moving("kernel_cpu", "kernel", "cpu", 600, TWO),  # one lap in forty fails
        Moving("debugger_cpu", "none", "cpu", 40, TWO),
    ),
    unsettled=BY_NIGHT,
    area="break- and watchpoints",
)
def watch_moved(target: Target, moving: Moving) -> None:
    """Have points set and removed while steps are due, and compare their hits with passes."""
    with target.in_kdb() as kdb:
        code, data = kdb.address(CODE), kdb.address(DATA)
    command = f"moved {moving.steady} {moving.who} {moving.laps} {code:#x} {data:#x}"
    if moving.is_debugged:
        found = stepped(target, command, code + 8)
    else:
        found = target.run(command, SECONDS).figures
    target.metrics.update(found)
    laps = f"points that were set or moved, of {found['laps']} laps, were"
    if found["missed"]:
        raise KernelFault(Signature.MISSED_HITS, f"{found['missed']} {laps} hit too seldom")
    if found["excess"]:
        raise KernelFault(Signature.DOUBLE_HITS, f"{found['excess']} {laps} hit too often")
    if not moving.is_debugged:
        # One more or less, because the first pass may have been under way.
        must_not_be_missed(found["hits"], found["passes"] - 1, "passes")
    if moving.steady == "user" and found["hits"] > found["passes"] + 1:
        raise KernelFault(
            Signature.DOUBLE_HITS, f"{found['hits']} hits counted for {found['passes']} passes"
        )


def stepped(target: Target, command: str, address: int) -> Mapping[str, int]:
    """Step the task from behind the points, again and again."""
    with target.stopped_at(address, command, SECONDS) as stop:
        for _ in stop.times(STOPS):
            for step in target.steps(STEPS):
                step.must_follow_program_order()
    return stop.answer.figures
