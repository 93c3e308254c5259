# SPDX-License-Identifier: GPL-2.0-only
"""Does a uprobe count each pass, and does the probed instruction run once, whatever comes between?

Claim: it does. The kernel steps a copy of the probed instruction in user space, out of line, by
the same step of the CPU as a tracer's (arch_uprobe_pre_xol() in
arch/arm64/kernel/probes/uprobes.c), and simulates branches. Not raised in the review, but the
patches change when the kernel writes MDSCR_EL1.SS.

Measured: the hits of uprobes on an addition, a store and a branch of a program, and how often
these did what they should, against its passes.
`timer`: an interrupt comes every 100 microseconds.
`signals`: a signal comes every 500 microseconds; its handler must not run in the middle.
`watched`: as `timer`, with perf's watchpoint on what the probed store writes, and its breakpoint
on the next instruction, over which the kernel makes its own steps.
`stepped`: the kernel is stepped in kdb from where it handles a probe, uprobe_notify_resume(), ten
times in a few passes.

Refuted by hits that are missed or counted twice (`missed-hits`, `double-hits`), an instruction
that did something else (`wrong-result`), a program that does not end (`hang`), and in `stepped` by
a step that leaves program order, as in step-in-order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact
from kstep.session.session import BY_NIGHT, session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.session.target import Target

PASSES, OFTEN = 2000, {"timer": 100, "signals": 500, "watched": 100}  # microseconds
HANDLES = "uprobe_notify_resume"  # kernel/events/uprobes.c, at a hit and behind the step over it
STOPS, STEPS = 10, 40
FEW = 4  # passes: of three probes, two of which are handled twice


@dataclass(frozen=True)
class Beside:
    """What happens beside the probes."""

    name: str


@session(
    claim="A uprobe counts each pass, and the probed instruction runs once.",
    cases=tuple(map(Beside, (*OFTEN, "stepped"))),
    needs=("CONFIG_UPROBE_EVENTS",),
    unsettled=BY_NIGHT,
    area="break- and watchpoints",
)
def user_probes(target: Target, beside: Beside) -> None:
    """Pass probed instructions, and count."""
    if beside.name == "stepped":
        with target.stopped_at(HANDLES, f"uprobed timer {FEW} 10000") as stop:
            for number in range(STOPS):
                for step in target.steps_to_a_return(STEPS):
                    step.must_follow_program_order()
                if number < STOPS - 1:
                    target.go()
                    target.expect_breakpoint(stop.breakpoint)
        found = stop.answer.figures
    else:
        command = f"uprobed {beside.name} {PASSES} {OFTEN[beside.name]}"
        found = target.run(command, 60).figures
    target.metrics.update(found)
    must_count(found, ("add", "store", "branch"))
    if beside.name == "watched":
        must_count(found, ("written", "executed"))
    if found["result"] != found["passes"]:
        raise KernelFault(
            Signature.WRONG_RESULT,
            f"the probed instructions did what they should in {found['result']} of"
            f" {found['passes']} passes",
        )
    target.must_tick()


def must_count(found: Mapping[str, int], events: tuple[str, ...]) -> None:
    """Compare the hits of events with the passes."""
    for event in events:
        must_be_exact(found[event], found["passes"], f"passes ({event})")
