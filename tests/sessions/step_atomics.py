# SPDX-License-Identifier: GPL-2.0-only
"""Can atomic operations be stepped through?

Claim: an exclusive load/store pair cannot be stepped through, because each step is an
exception, each exception clears the exclusive monitor, and the store fails for ever; one
atomic instruction (LSE) can. The architecture says so (Arm ARM, B2.9.5), and no kernel patch
can fix it. The session shows that it is no fault of the series, and why the other sessions
use a CPU with LSE atomics.

Measured: the same path, with a spinlock and reference counts in it, on a CPU with LSE
atomics and on one without; the atomic instructions and the exclusive pairs stepped.

Refuted by a path that loops for ever (`livelock`), which without LSE atomics is expected; by a
step out of order, as in `step-in-order`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.arm64.branch import is_atomic, is_store_exclusive
from kstep.base.errors import MachineryError
from kstep.machine.hardware import Hardware
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target


@dataclass(frozen=True)
class Cpu:
    """The CPU that the path is stepped on."""

    name: str
    hardware: Hardware


@session(
    claim="Atomic operations can be stepped through if each is one instruction.",
    cases=(
        Cpu("lse", Hardware(cpu="cortex-a76")),
        Cpu("exclusive", Hardware(cpu="cortex-a57")),
    ),
    area="steps",
)
def step_atomics(target: Target, _cpu: Cpu) -> None:
    """Step a path with atomic operations in it, and check that it makes progress."""
    target.metrics.update(atomics=0, exclusives=0)
    with target.stopped_at("set_fs_pwd", "cd /tmp"):
        for step in target.steps_to_a_return(300):
            step.must_follow_program_order()
            step.must_make_progress()
            target.metrics["atomics"] += is_atomic(step.instruction.word)
            target.metrics["exclusives"] += is_store_exclusive(step.instruction.word)
        if not target.metrics["atomics"] and not target.metrics["exclusives"]:
            raise MachineryError("there is no atomic operation on the path")
    target.must_tick()
