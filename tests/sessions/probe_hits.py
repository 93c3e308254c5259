# SPDX-License-Identifier: GPL-2.0-only
"""Does a kprobe's handler run once for each call, while the kernel is stepped over it, too?

Claim: a debugger's step does not take a probe's hit, or add one. Not raised in the review;
step-over-probe asks where such a step ends, and would not notice that the handler was left out.

Measured: fail_function puts a kprobe on a system call (kernel/fail_function.c). Its handler calls
should_fail(), which lowers the attribute `space` by one and lets the call through
(lib/fault-inject.c): that is the counter. `running`: 2000 calls, beside the timer's interrupts.
`stepped`: twenty calls, of which eight are stepped, from the branch to the system call over the
probe and further; where the steps end is not judged here. `shared`: kdb has a breakpoint on the
probed instruction itself, which stops each of ten calls before the probe is hit.

Refuted by a number of hits that is not that of the calls (`missed-hits`, `double-hits`); and by
`go` that hits the breakpoint at the branch again (`rehit`), as in continue-past-breakpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.arm64.branch import is_indirect_call
from kstep.base.errors import MachineryError
from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.session.target import Target

CALL, PROBED = "getitimer", "__arm64_sys_getitimer"  # kernel/time/itimer.c: nobody else calls it
FOLDER = "/sys/kernel/debug/fail_function"
SPACE = 1_000_000  # calls that are let through
STEPPED, STEPS = 8, 5
STOPS = 400  # of all tasks, whose system calls stop there too


@dataclass(frozen=True)
class Probing:
    """How often the system call is called, and whether it is stepped."""

    name: str
    calls: int
    stepped: bool = False
    shared: bool = False


@session(
    claim="A kprobe's handler runs once for each call, stepped over or not.",
    cases=(
        Probing("running", 2000),
        Probing("stepped", 20, stepped=True),
        Probing("shared", 10, shared=True),
    ),
    needs=("CONFIG_FAIL_FUNCTION",),
    area="break- and watchpoints",
)
def probe_hits(target: Target, probing: Probing) -> None:
    """Count the hits of a probe on a system call."""
    trigger = f"syscall {CALL} {probing.calls} 0 @"
    arm(target, PROBED)
    if probing.stepped:
        step_calls(target, PROBED, trigger, STEPPED, lambda _: step_over(target))
    elif probing.shared:
        stop_calls(target, trigger, probing.calls)
    else:
        target.run(trigger)
    left = target.run(f"echo left=$(cat {FOLDER}/space)").figures["left"]
    disarm(target, PROBED)
    target.metrics.update(calls=probing.calls, hits=SPACE - left)
    must_be_exact(SPACE - left, probing.calls, f"calls of {PROBED}()")
    target.must_tick()


def arm(target: Target, probed: str) -> None:
    """Put fail_function's probe on a function, and let every call through."""
    armed = target.ask(
        f"cd {FOLDER} && echo {probed} > inject && echo 100 > probability && echo 1 > times"
        f" && echo 0 > verbose && echo {SPACE} > space; cd /"
    )
    if armed.status:
        raise MachineryError(f"this kernel refuses a probe on {probed}()")


def disarm(target: Target, probed: str) -> None:
    """Take the probe away."""
    target.run(f"echo '!{probed}' > {FOLDER}/inject; echo 0 > {FOLDER}/probability")


def step_calls(
    target: Target, probed: str, trigger: str, times: int, walk: Callable[[int], None]
) -> None:
    """Stop at the branch to a probed system call, and ``walk`` to where it returns to."""
    caller = target.known("invoke_syscall", "el0_svc_common", "do_el0_svc")
    with target.in_kdb(then=trigger) as kdb:
        branch = target.find(caller, is_indirect_call)
        to_probe = frozenset({kdb.address(probed)})
        stop_here = kdb.breakpoint(branch)
        for _ in range(times):
            target.go_until(stop_here, lambda: target.successors(branch) == to_probe, STOPS)
            walk(branch + 4)
        kdb.clear(stop_here)


def stop_calls(target: Target, trigger: str, calls: int) -> None:
    """Stop at the probed instruction in each call, and continue."""
    with target.in_kdb() as kdb:
        stop_here = kdb.breakpoint(PROBED)
    with target.running(trigger):
        for _ in range(calls):
            target.expect_breakpoint(stop_here)
            target.go()
    with target.in_kdb() as kdb:
        kdb.clear(stop_here)


def step_over(target: Target) -> None:
    """Step over the probe, and a little further."""
    for _ in range(STEPS):
        target.step_unjudged()
