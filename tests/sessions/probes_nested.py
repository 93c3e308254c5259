# SPDX-License-Identifier: GPL-2.0-only
"""Is each of several kprobes hit once a call, at entry and return, and one within another?

Claim: it is, while the kernel is stepped through all of them, too. Not raised in the review.
probe-hits has one probe, at a function's entry. A return probe replaces the return address by a
trampoline, which calls the handler (or has a BRK of its own, since 6.12), so that a step over RET
leads there. A probe that is hit in another one's handler is not handled, but counted as missed,
and its instruction runs all the same (reenter_kprobe() in arch/arm64/kernel/probes/kprobes.c).

Measured: the hits and misses that tracefs counts, of probes on the entry and the return of a
system call and of a function that it calls, and on an instruction behind the system call's entry,
which is executed out of line; and of one in a handler, which copies a string into the trace.
`running`: 2000 calls, beside the timer's interrupts. `stepped`: twenty calls, of which four are
stepped to where they return to; `walked` is how many got there. Where a step ends is not judged
here.

Refuted by a number of hits that is not that of the calls, or of hits and misses in the handler
(`missed-hits`, `double-hits`); by steps that do not end (`livelock`); and by `go` that hits the
breakpoint before the call again (`rehit`), as in continue-past-breakpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.arm64.entry import is_interrupt
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact
from kstep.session.session import BY_NIGHT, session
from tests.sessions.probe_hits import step_calls

if TYPE_CHECKING:
    from kstep.session.target import Target

# kernel/time/time.c and, so that no compiler inlines it there, kernel/time/vsyscall.c; nobody else
# calls them. A null pointer for the time leaves the clock alone.
CALL, PROBED, INNER = "settimeofday", "__arm64_sys_settimeofday", "update_vsyscall_tz"
# mm/maccess.c: the handler calls it once for each string that is recorded, and nobody else does
STRING, COPIES = "@linux_banner:string", "strncpy_from_kernel_nofault"
TRACING = "/sys/kernel/tracing"
COUNT = (
    "while read event hits missed; do echo $event=$hits ${event}_missed=$missed; done"
    f" < {TRACING}/kprobe_profile"
)
STEPPED, STEPS = 4, 10_000  # of which 2000 are needed


@dataclass(frozen=True)
class Calls:
    """How often the system call is called, and whether it is stepped."""

    name: str
    number: int
    stepped: bool


@session(
    claim="Kprobes at entry and return, and within another, count each call, stepped or not.",
    cases=(Calls("running", 2000, stepped=False), Calls("stepped", 20, stepped=True)),
    needs=("CONFIG_KPROBE_EVENTS",),
    unsettled=BY_NIGHT,
    area="break- and watchpoints",
)
def probes_nested(target: Target, calls: Calls) -> None:
    """Count the hits of probes on a system call, on what it calls, and in a handler."""
    trigger = f"syscall {CALL} {calls.number} 0 @"
    set_probes(target)
    if calls.stepped:
        target.metrics["walked"] = 0
        step_calls(target, PROBED, trigger, STEPPED, lambda end: walk(target, end))
    else:
        target.run(trigger)
    found = target.run(COUNT).figures
    target.run(f"echo 0 > {TRACING}/events/kprobes/enable && echo > {TRACING}/kprobe_events")
    target.metrics.update(calls=calls.number, **found)
    for event in ("entry", "body", "back", "inner_entry", "inner_back"):
        must_be_exact(found[event], calls.number, f"calls ({event})")
    in_handler = found["in_handler"] + found["in_handler_missed"]
    must_be_exact(in_handler, calls.number, "calls (in_handler, handled or counted as missed)")
    target.must_tick()


def set_probes(target: Target) -> None:
    """Set the probes by tracefs, and enable them."""
    with target.in_kdb():
        body = target.find(PROBED, lambda word: not is_hint(word))
    target.run(f"[ -e {TRACING}/kprobe_events ] || mount -t tracefs tracefs {TRACING}")
    for probe in (
        f"p:entry {PROBED} {STRING}",
        f"p:body {body:#x}",
        f"r:back {PROBED}",
        f"p:inner_entry {INNER}",
        f"r:inner_back {INNER}",
        f"p:in_handler {COPIES}",
    ):
        if target.ask(f"echo {probe} >> {TRACING}/kprobe_events").status:
            raise MachineryError(f"this kernel refuses the probe {probe}")
    target.run(f"echo 1 > {TRACING}/events/kprobes/enable")


def is_hint(word: int) -> bool:
    """Whether an instruction is NOP, as a tracer leaves it, or another hint, such as PACIASP."""
    return word & 0xFFFF_F01F == 0xD503_201F


def walk(target: Target, end: int) -> None:
    """Step to an address, or into an interrupt: behind a BRK that is a window (step-over-probe).

    `go` from elsewhere could come between a load of preempt_count, which has kgdb's lock in it from
    a step on, and the store, which then leaves that count in for good: "scheduling while atomic".
    """
    for _ in range(STEPS):
        place = target.locate(target.step_unjudged())
        if place.address == end:
            target.metrics["walked"] += 1
        if place.address == end or is_interrupt(place):
            return
    raise KernelFault(Signature.LIVELOCK, f"no end of {PROBED}() in {STEPS} steps")
