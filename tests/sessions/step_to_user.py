# SPDX-License-Identifier: GPL-2.0-only
"""Where does a step end that leaves the kernel?

Claim: with 1/2 a step is much less likely to end in an interrupt, "but not 100%"; Ard
Biesheuvel, in the review of the series. 1/2 looks after interrupts that come in the
kernel. The last steps of a system call are made with all exceptions masked, so none of
them comes back; the first exception after the return does, and where the tick is due that
is el0_interrupt(), in user mode's name, which 1/2 leaves alone.

Measured: steps from behind the instruction by which a system call masks everything on its
way out (`msr daifset, #15` in do_el0_svc()), an interrupt being due; the metrics hold how
many there were and in which function each ended.

Refuted by steps that end in the program's own next entry, or not at all. One that ends in
an interrupt is `enters-interrupt`; one after which the program's command came to another
end, for it was sent SIGTRAP, is `runaway`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep import daif
from kstep.outcome import KernelFault, Signature
from kstep.path import is_interrupt
from kstep.session import session

if TYPE_CHECKING:
    from kstep.target import Target

TRIES = 20


@session(claim="A step that returns to user space does not end in an interrupt's entry.")
def step_to_user(target: Target) -> None:
    """Step out of a system call, time and again, and count where the steps end."""
    with target.in_kdb(then=f"syscall getppid {4 * TRIES}") as kdb:
        leaving = kdb.breakpoint(target.find("do_el0_svc", daif.sets_all) + 4)
        places = []
        for _ in range(TRIES):
            target.go()
            target.expect_breakpoint(leaving)
            places.append(target.place(target.step_unjudged()))
        kdb.clear(leaving)
    target.must_tick()
    interrupts = [place for place in places if is_interrupt(place)]
    target.metrics.update(tries=TRIES, irq_entries=len(interrupts))
    for place in places:
        target.metrics[f"in_{place.symbol}"] = target.metrics.get(f"in_{place.symbol}", 0) + 1
    if interrupts:
        raise KernelFault(
            Signature.ENTERS_INTERRUPT,
            f"{len(interrupts)} of {TRIES} steps to user space ended in an interrupt:"
            f" {', '.join(sorted({str(place) for place in interrupts}))}",
        )
