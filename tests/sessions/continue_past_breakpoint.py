# SPDX-License-Identifier: GPL-2.0-only
"""Does `go` get past a breakpoint?

Claim: without patch 1/2 `continue` hits the same breakpoint for ever, with it once.
Made by Matthias Schiffer in the review of the series. `go` from a breakpoint first steps
over it; if that step ends in the interrupt handler, the breakpoint is installed again and
the same instruction hits it again.

Measured: the hits for one command that reaches the function once, twice over, to catch a
breakpoint that `go` loses.

Refuted by a second hit (`rehit`: no register has changed), by none the second time
(`missed-hits`), by a guest that does not answer afterwards (`hang`), or by any splat
(`splat`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.session.functions import FUNCTIONS
from kstep.session.session import Stepped, session

if TYPE_CHECKING:
    from kstep.session.target import Target


@session(
    claim="`go` gets past a breakpoint: one trigger, one hit.",
    cases=FUNCTIONS,
    area="resuming (go)",
)
def continue_past_breakpoint(target: Target, function: Stepped) -> None:
    """Hit a breakpoint once for each trigger, and go on."""
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint(function.name)
    for _ in range(2):
        with target.running(function.trigger):
            target.expect_breakpoint(stop_here)
            target.go()
        target.run("echo still here")
    with target.in_kdb() as kdb:
        kdb.clear(stop_here)
