# SPDX-License-Identifier: GPL-2.0-only
"""Does the kernel complain of a stop that lasts?

Claim: it does not, whether it is stopped in one place or stepped from one to the next: as a CPU
leaves kgdb, the kernel's watchdogs are told that it was away (dbg_touch_watchdogs() in
kernel/debug/debug_core.c). Not raised in the review; but people stop for minutes, and a step that
is ended otherwise than by that code would show there first.

Measured on two CPUs, with RCU's timeout for a stall at the least that it can have, amid a grace
period: a stop for longer than that, and steps with a pause before each, which last longer together.

Refuted by a report of a stall (`splat`), a step that leaves program order, or a tick that does not
go on (`hang`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.machine.hardware import Hardware
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

# kernel/rcu/tree.c: a grace period looks for CPUs that it still waits for; and where clang inlines
# that, the loop of such looks, before the first. Neither holds a lock yet, for which another CPU
# could wait with interrupts off, out of kgdb's reach.
FUNCTIONS = ("force_qs_rnp", "rcu_gp_fqs_loop")
TIMEOUT = 3  # seconds, the least (rcu_jiffies_till_stall_check() in kernel/rcu/tree_stall.h)
LONGER = 1.4  # times that
WITHIN = 4  # seconds in which such a look comes, less than the stop


@dataclass(frozen=True)
class Stay:
    """How the kernel is kept from running: ``pauses``, with a step after each but the last."""

    name: str
    pauses: int


@session(
    claim="A kernel that is stopped or stepped for long reports no stall when it goes on.",
    cases=(Stay("stopped", 1), Stay("stepped", 6)),
    hardware=Hardware(cpus=2, parameters=f"rcupdate.rcu_cpu_stall_timeout={TIMEOUT}"),
    area="resuming (go)",
)
def stop_for_long(target: Target, stay: Stay) -> None:
    """Stop, wait, go on, and see whether the kernel says something of it."""
    trigger = f"grace & sleep {WITHIN}; kill $!"
    with target.stopped_at(target.known(*FUNCTIONS), trigger, at_once=True) as stop:
        stop.clear()
        time.sleep(TIMEOUT * LONGER / stay.pauses)
        for step in target.steps(stay.pauses - 1):
            step.must_follow_program_order()
            time.sleep(TIMEOUT * LONGER / stay.pauses)
    target.must_tick()
