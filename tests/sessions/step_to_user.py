# SPDX-License-Identifier: GPL-2.0-only
"""Where does a step to user space end?

Claim: with 1/2 a step is much less likely to end in an interrupt, "but not 100%". Made by Ard
Biesheuvel in the review of the series. 1/2 handles interrupts from the kernel. The end of a
system call runs with all exceptions masked, so a step there cannot trap until the first
exception after the return. If the tick is pending, that is el0_interrupt(), an interrupt from
user space, which 1/2 does not handle.

Measured: steps from after the instruction with which a system call masks everything on exit
(`msr daifset, #15` in do_el0_svc()), with an interrupt pending; the metrics hold how many there
were and in which function each ended. Only around 6.1 can that instruction hold a breakpoint. In
other versions it is in do_el0_svc()'s caller, which is noinstr, or in entry.S; there the path
is stepped from the return of do_el0_svc(), and a step that leaves program order before the
mask is judged as in step-in-order. A system call with exit-to-user work is not stepped
further (WORK in kstep/arm64/entry.py). Around 6.1 two programs make the system call in turn: the
breakpoint is off while it is stepped over, so if the other one ran meanwhile, it would pass unseen.
In other versions there is one program, because with two there is exit-to-user work at each call
that is stepped.

Refuted by a step that ends in an interrupt (`enters-interrupt`), or that never traps, so that
the program gets SIGTRAP or reaches its next system call (`runaway`); by calls that pass the
breakpoint unseen (`missed-hits`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kstep.arm64 import daif
from kstep.arm64.entry import is_interrupt, is_work
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.image.symbols import CodeAddress
    from kstep.session.target import Target

TRIES = 20
RET = 0xD65F_03C0
TO_MASK = 100  # steps, at most, from do_el0_svc() to the instruction that masks everything


@session(
    claim="A step that returns to user space does not end in an interrupt's entry.",
    area="user space",
)
def step_to_user(target: Target) -> None:
    """Step out of a system call repeatedly, and count where the steps end."""
    with target.in_kdb():
        address, to_mask = exit_path(target)
    calls = f"syscall getppid {20 * TRIES}"
    with target.in_kdb(then=calls if to_mask else f"{calls} & {calls}; wait") as kdb:
        leaving = kdb.breakpoint(address)
        ends: list[CodeAddress] = []
        while len(ends) < TRIES:
            target.go()
            masks = target.locate(target.expect_breakpoint(leaving))
            for step in target.steps(to_mask):
                step.must_follow_program_order()
                masks = step.after
            if is_work(masks):
                continue
            ends.append(target.step_past_mask(masks))
        kdb.clear(leaving)
    target.must_tick()
    interrupts = [end for end in ends if is_interrupt(end)]
    target.metrics.update(tries=TRIES, irq_entries=len(interrupts))
    for end in ends:
        target.metrics[f"in_{end.symbol}"] = target.metrics.get(f"in_{end.symbol}", 0) + 1
    if interrupts:
        raise KernelFault(
            Signature.ENTERS_INTERRUPT,
            f"{len(interrupts)} of {TRIES} steps to user space ended in an interrupt:"
            f" {', '.join(sorted({str(end) for end in interrupts}))}",
        )


def exit_path(target: Target) -> tuple[int, int]:
    """Return the address to step from, and how many steps lead from it to the mask, at most.

    0 steps if the address is right after the mask.
    """
    for function in ("do_el0_svc", "el0_svc_common"):  # gcc inlines the second in the first
        with suppress(MachineryError):
            return target.find(target.known(function), daif.sets_all) + 4, 0
    return target.find("do_el0_svc", lambda word: word == RET), TO_MASK
