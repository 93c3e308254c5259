# SPDX-License-Identifier: GPL-2.0-only
"""Where does a step end that leaves the kernel?

Claim: with 1/2 a step is much less likely to end in an interrupt, "but not 100%"; Ard
Biesheuvel, in the review of the series. 1/2 looks after interrupts that come in the
kernel. The last steps of a system call are made with all exceptions masked, so none of
them comes back; the first exception after the return does, and where the tick is due that
is el0_interrupt(), in user mode's name, which 1/2 leaves alone.

Measured: steps from behind the instruction by which a system call masks everything on its
way out (`msr daifset, #15` in do_el0_svc()), an interrupt being due; the metrics hold how
many there were and in which function each ended. Only around 6.1 is that instruction where a
breakpoint may stand. In other versions it is in do_el0_svc()'s caller, which is noinstr, or in
entry.S; there the path is stepped from the return of do_el0_svc() on, and a step that leaves
program order before it masks is what step-in-order says of it. A system call that finds work
to do on its way out is not stepped further (WORK in kstep/arm64/entry.py).

Refuted by steps that end in the program's own next entry, or not at all. One that ends in
an interrupt is `enters-interrupt`; one after which the program's command came to another
end, for it was sent SIGTRAP, is `runaway`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.arm64 import daif
from kstep.arm64.entry import is_interrupt, is_work
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.image.symbols import Place
    from kstep.session.target import Target

TRIES = 20
RET = 0xD65F_03C0
WAY = 100  # steps, at the most, from do_el0_svc() to where all is masked


@session(
    claim="A step that returns to user space does not end in an interrupt's entry.",
    area="user space",
)
def step_to_user(target: Target) -> None:
    """Step out of a system call, time and again, and count where the steps end."""
    with target.in_kdb(then=f"syscall getppid {20 * TRIES}") as kdb:
        address, way = way_out(target)
        leaving = kdb.breakpoint(address)
        places: list[Place] = []
        while len(places) < TRIES:
            target.go()
            masks = target.place(target.expect_breakpoint(leaving))
            for step in target.steps(way):
                step.must_follow_program_order()
                masks = step.after
            if is_work(masks):
                continue
            places.append(target.step_past_mask(masks))
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


def way_out(target: Target) -> tuple[int, int]:
    """Return where to step from, and how many steps at the most up to the mask.

    None of them behind the mask; some at the return that leads there.
    """
    try:
        return target.find("do_el0_svc", daif.sets_all) + 4, 0
    except MachineryError:
        return target.find("do_el0_svc", lambda word: word == RET), WAY
