# SPDX-License-Identifier: GPL-2.0-only
"""Do steps get through atomic operations?

Claim: an exclusive load/store pair cannot be stepped through, for each step is an
exception, each exception clears the exclusive monitor, and the store fails for ever; one
atomic instruction (LSE) can. The architecture says so (Arm ARM, B2.9.5), every debugger's
manual repeats it, and no patch of a kernel mends it: it is here as data, so that nobody
takes it for a fault of the series, and so that the other sessions' processor has a reason.

Measured: the same path, with a spinlock and reference counts in it, on a processor with LSE
atomics and on one without; the atomic instructions and the exclusive pairs stepped.

Refuted by a path that goes round without end where there are LSE atomics, and by one that
does not where there are none (`livelock`); by a step out of order, as in `step-in-order`.
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
class Processor:
    """What the path is stepped on."""

    name: str
    hardware: Hardware


@session(
    claim="Steps get through atomic operations where each is one instruction.",
    cases=(
        Processor("lse", Hardware(cpu="cortex-a76")),
        Processor("exclusive", Hardware(cpu="cortex-a57")),
    ),
    area="steps",
)
def step_atomics(target: Target, _processor: Processor) -> None:
    """Step a path with atomic operations in it, and see that it gets on."""
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
