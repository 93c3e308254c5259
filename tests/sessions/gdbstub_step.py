# SPDX-License-Identifier: GPL-2.0-only
"""Does a step by QEMU's own gdbstub land in the interrupt vectors?

Claim: about every other step does; with patch 1/2 "much rarer", "but not 100%". Made by Ard
Biesheuvel in the review of the series. Under TCG that stub steps from outside: it ends a
translation after each instruction and does not use MDSCR_EL1. So the kernel should make no
difference, but the step mask should: 0x7, the default, masks interrupts and timers during a
step; 0x1 lets them in. Under KVM the stub uses the guest's step bit, which the claim is
about, and has no mask but 0x1: see `gdbstub-rate`.

Measured: 200 gdb steps, five from each of 40 breakpoints, with interrupts unmasked and a
timer that fires every 10 microseconds of guest time: how many land in the vector of an
interrupt. The metrics hold that rate in percent, with its 95 % interval, to which a breakpoint
counts as one cluster, because its five steps are not independent. The rate depends on
the speed of the host, so it is not judged; a single step that lands there is.

Refuted by a step that lands there (`enters-interrupt`) or anywhere else but at the next
instruction (`off-order`). Sometimes the stub stops before it has run anything, more often on
a busy host; such steps are counted, and refute if they are the majority (`stuck`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.machine.capability import Capability
from kstep.results.rate import ClusteredRate
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.judge.stepper import Step
    from kstep.session.target import Target

BREAKPOINTS, STEPS = 40, 5  # and steps from each
FUNCTION = "__arm64_sys_getppid"
TRIGGER = f"often 10000 syscall getppid {2 * BREAKPOINTS}"


@dataclass(frozen=True)
class Mask:
    """A value of QEMU's ``Qqemu.sstep``: 1 steps, 2 masks interrupts, 4 stops timers."""

    bits: int

    @property
    def name(self) -> str:
        """Name the case."""
        return f"mask_{self.bits:#x}"


@session(
    claim="A step by QEMU's gdbstub goes to the next instruction, not into the vectors.",
    cases=(Mask(0x7), Mask(0x1)),
    requires={
        Capability.GDBSTUB: "it has gdb on QEMU's own gdbstub",
        Capability.GDBSTUB_MASKS: "it compares a step with interrupts and one without",
        Capability.MEMORY_WITHOUT_KDB: "it reads each instruction while that gdb steps",
    },
    area="kdb and gdb",
)
def gdbstub_step(target: Target, mask: Mask) -> None:
    """Step with gdb on QEMU's stub, from one breakpoint after another."""
    went: Counter[Signature | None] = Counter()
    clusters: list[tuple[int, int]] = []
    with target.in_gdbstub(mask.bits) as gdb:
        stop_here = gdb.breakpoint(FUNCTION)
        with target.running(TRIGGER):
            for _ in range(BREAKPOINTS):
                gdb.resume()
                target.expect_breakpoint_in_gdb(gdb, stop_here)
                landed = steps = 0
                for step in target.steps(STEPS, gdb):
                    went[how := fault(step)] += 1
                    landed, steps = landed + (how is Signature.ENTERS_INTERRUPT), steps + 1
                    if step.after.address not in {*step.expected, step.before.address}:
                        break
                clusters.append((landed, steps))
            gdb.clear(stop_here)
            gdb.resume()
    steps = went.total()
    rate = ClusteredRate(tuple(clusters))
    low, high = rate.interval()
    target.metrics |= {
        "landed_in_vectors": rate.hits,
        "stayed": went[Signature.STUCK],
        "percent": round(100 * rate.hits / steps, 1),
        "percent_at_least": round(100 * low, 1),
        "percent_at_most": round(100 * high, 1),
    }
    for signature, most in (
        (Signature.OFF_ORDER, 0),
        (Signature.ENTERS_INTERRUPT, 0),
        (Signature.STUCK, steps // 2),
    ):
        if went[signature] > most:
            raise KernelFault(
                signature,
                f"of {steps} steps {rate.hits} landed in an interrupt's vector, {rate},"
                f" {went[Signature.OFF_ORDER]} elsewhere, and {went[Signature.STUCK]} did not move",
            )


def fault(step: Step) -> Signature | None:
    """Return how a step went wrong; None if it went to the next instruction."""
    if step.in_order:
        return None
    if step.after.symbol == "vectors":
        return Signature.ENTERS_INTERRUPT
    return Signature.STUCK if step.after == step.before else Signature.OFF_ORDER
