# SPDX-License-Identifier: GPL-2.0-only
"""Is a perf break- or watchpoint with a handler hit once a pass, and not for ever?

Claim: it is. breakpoint_handler() and watchpoint_handler() in arch/arm64/kernel/hw_breakpoint.c
step over a hit only if the event's overflow handler is one of perf's own; whoever brings another
one must move the breakpoint himself. A BPF program was such a handler until d11a69873d9a (v6.6),
so that its event was hit at the same place for ever. Not raised in the review; this step is the
one that the patches meet in watch-in-interrupt.

Measured: 2000 passes of an instruction or a store, of a program or of the kernel, while an
interrupt comes every 100 microseconds: the event's hits, and the runs of its BPF program (`bpf`),
or the samples that perf wrote into a buffer from the start (`forward`) or from the end
(`backward`). The kernel's own handlers are a tracer's (ptrace-watch), and a signal at each hit
(watch-signalled).

Refuted by more hits or runs than passes (`double-hits`), fewer (`missed-hits`), or a program that
hits the same place for ever (`livelock`; `hang` if that is in the kernel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact
from kstep.session.session import BY_NIGHT, session
from tests.sessions.step_pnmi import UNTHROTTLED

if TYPE_CHECKING:
    from kstep.session.target import Target

PASSES, OFTEN = 2000, 100  # microseconds
FUNCTION, VARIABLE = "__arm64_sys_settimeofday", "sys_tz"  # kernel/time/time.c, once a call


@dataclass(frozen=True)
class Handled:
    """Who handles a hit, and what is hit, as in tests/guest/handled.c."""

    handler: str
    place: str

    @property
    def name(self) -> str:
        """The handler and the place."""
        return f"{self.handler}_{self.place}"


PLACES = ("user_executed", "user_written", "kernel_executed", "kernel_written")


@session(
    claim="A perf break- or watchpoint with a handler is hit once a pass.",
    cases=tuple(
        Handled(handler, place) for handler in ("bpf", "forward", "backward") for place in PLACES
    ),
    needs=("CONFIG_BPF_EVENTS",),
    unsettled=BY_NIGHT,
    area="break- and watchpoints",
)
def perf_handlers(target: Target, handled: Handled) -> None:
    """Count hits and what their handler did."""
    target.run(UNTHROTTLED)
    event = "x" if handled.place.endswith("executed") else "w"
    if handled.place.startswith("kernel"):
        with target.in_kdb() as kdb:
            event += f":{kdb.address(FUNCTION if event == 'x' else VARIABLE):#x}"
    found = target.run(f"handled {handled.handler} {PASSES} {OFTEN} {event}", 30).figures
    target.metrics.update(found)
    if found["passes"] < PASSES:
        raise KernelFault(
            Signature.LIVELOCK, f"{found['hits']} hits in {found['passes']} passes, and no more"
        )
    must_be_exact(found["hits"], found["passes"], "passes")
    must_be_exact(found["runs"], found["passes"], f"passes, by {handled.handler}")
    target.must_tick()
