# SPDX-License-Identifier: GPL-2.0-only
"""Does a breakpoint or watchpoint of user space count once a pass if signals come?

Claim: it does. Not raised in the review. The kernel steps a program over what was hit
(user_enable_single_step() from arch/arm64/kernel/hw_breakpoint.c); a signal that is handled first
leads elsewhere, and the step must be kept for the interrupted instruction. As it is,
handle_signal() (signal.c) has the step end at the handler's first instruction
(user_fastforward_single_step()), where the breakpoint is switched on again: on return from the
handler it is hit once more.

Measured: the hits of an event on an instruction or a variable of a program, against its passes.
`timer_`: a signal comes every 100 microseconds; `once_`: a timer is set anew when its signal was
handled, and here only the signals are judged; `sigtrap_`: the event itself sends one at each hit
(attr.sigtrap of perf_event_open(2)).

Refuted by more hits than passes (`double-hits`) or fewer (`missed-hits`), a signal that is not
handled within a second (`missed-hits`), or a program that hits the same place for ever
(`livelock`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact, must_not_be_missed
from kstep.session.session import Unless, session
from kstep.source.version import Span
from tests.sessions.step_pnmi import UNTHROTTLED

if TYPE_CHECKING:
    from kstep.session.target import Target

TIMES = 300  # signals; a third of them come before the step over a hit
OFTEN = 100  # microseconds


@dataclass(frozen=True)
class Signalled:
    """Who sends signals and what is watched, as in tests/guest/signalhits.c."""

    sender: str
    watched: str

    @property
    def name(self) -> str:
        """The sender and the access."""
        return f"{self.sender}_{self.watched}"


SENDERS, ACCESSES = ("timer", "once", "sigtrap"), ("executed", "written")
NO_SIGTRAP = Unless(
    Span(last=(5, 12)),
    "perf's events send no signal of their own",  # attr.sigtrap: 97ba62b27867, v5.13
    tuple(f"sigtrap_{watched}" for watched in ACCESSES),
)


@session(
    claim="A breakpoint or watchpoint in user space counts once a pass, whatever signals come.",
    cases=tuple(Signalled(sender, watched) for sender in SENDERS for watched in ACCESSES),
    unless=(NO_SIGTRAP,),
    area="break- and watchpoints",
)
def watch_signalled(target: Target, how: Signalled) -> None:
    """Count hits while signals are handled."""
    target.run(UNTHROTTLED)
    found = target.run(f"signalhits {how.sender} {how.watched} {TIMES} {OFTEN}", 30).figures
    target.metrics.update(found)
    if how.sender == "once":
        must_not_be_missed(TIMES - found["late"], TIMES, "signals, in time")
        return
    if how.sender == "sigtrap" and found["passes"] < TIMES:
        raise KernelFault(
            Signature.LIVELOCK,
            f"{found['hits']} hits and {found['signals']} signals in {found['passes']} passes",
        )
    must_be_exact(found["hits"], found["passes"], "passes")
    if how.sender == "sigtrap":
        must_be_exact(found["signals"], found["passes"], "passes, by signals")
