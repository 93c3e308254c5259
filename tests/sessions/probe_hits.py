# SPDX-License-Identifier: GPL-2.0-only
"""Does a kprobe's handler run once for each call, while the kernel is stepped over it, too?

Claim: a debugger's step does not take a probe's hit, or add one. Not raised in the review;
step-over-probe asks where such a step ends, and would not notice that the handler was left out.

Measured: fail_function puts a kprobe on a system call (kernel/fail_function.c). Its handler calls
should_fail(), which lowers the attribute `space` by one and lets the call through
(lib/fault-inject.c): that is the counter. `running`: 2000 calls, beside the timer's interrupts.
`stepped`: twenty calls, of which eight are stepped, from the branch to the system call over the
probe and further; where the steps end is not judged here.

Refuted by a number of hits that is not that of the calls (`missed-hits`, `double-hits`); and by
`go` that hits the breakpoint at the branch again (`rehit`), as in continue-past-breakpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.session.target import Target

CALL, PROBED = "getitimer", "__arm64_sys_getitimer"  # kernel/time/itimer.c: nobody else calls it
FOLDER = "/sys/kernel/debug/fail_function"
SPACE = 1_000_000  # calls that are let through
ARM = (
    f"cd {FOLDER} && echo {PROBED} > inject && echo 100 > probability && echo 1 > times"
    f" && echo 0 > verbose && echo {SPACE} > space; cd /"
)
DISARM = f"echo '!{PROBED}' > {FOLDER}/inject; echo 0 > {FOLDER}/probability"
STEPPED, STEPS = 8, 5
AGAIN = 20  # stops with the same registers, each of which would be a system call of its own
STOPS = 400  # of all tasks, whose system calls stop there too
BLR, REGISTER = 0xD63F_0000, 0x3E0  # Arm ARM, C6.2: BLR, and its register


@dataclass(frozen=True)
class Probing:
    """How often the system call is called, and whether it is stepped."""

    name: str
    calls: int
    stepped: bool


@session(
    claim="A kprobe's handler runs once for each call, stepped over or not.",
    cases=(Probing("running", 2000, stepped=False), Probing("stepped", 20, stepped=True)),
    needs=("CONFIG_FAIL_FUNCTION",),
    area="break- and watchpoints",
)
def probe_hits(target: Target, probing: Probing) -> None:
    """Count the hits of a probe on a system call."""
    trigger = f"syscall {CALL} {probing.calls} 0 @"
    if target.ask(ARM).status:
        raise MachineryError(f"this kernel refuses a probe on {PROBED}()")
    if probing.stepped:
        step_over_probes(target, trigger)
    else:
        target.run(trigger)
    left = target.run(f"echo left=$(cat {FOLDER}/space)").figures["left"]
    target.run(DISARM)
    target.metrics.update(calls=probing.calls, hits=SPACE - left)
    must_be_exact(SPACE - left, probing.calls, f"calls of {PROBED}()")
    target.must_tick()


def step_over_probes(target: Target, trigger: str) -> None:
    """Step from the branch to the system call, over the probe, and further."""
    caller = target.known("invoke_syscall", "el0_svc_common", "do_el0_svc")
    words: list[int] = []

    def is_branch(word: int) -> bool:
        words.append(word)
        return word & ~REGISTER == BLR

    branch = target.find(caller, is_branch)
    register = f"x{(words[-1] & REGISTER) >> 5}"
    with target.in_kdb(then=trigger) as kdb:
        probed = kdb.address(PROBED)
        stop_here = kdb.breakpoint(branch)
        done = again = 0
        before: dict[str, int] = {}
        for _ in range(STOPS):
            target.go()
            target.expect_breakpoint(stop_here)
            registers = kdb.registers()
            if registers[register] != probed:
                again = again + 1 if registers == before else 0
                if again == AGAIN:
                    raise KernelFault(
                        Signature.REHIT, f"go from {branch:#x} hit there {AGAIN} times more"
                    )
                before = registers
                continue
            for _ in range(STEPS):
                target.step_unjudged()
            done += 1
            if done == STEPPED:
                break
        kdb.clear(stop_here)
    if done < STEPPED:
        raise MachineryError(f"{caller} called {PROBED}() {done} times in {STOPS} stops")
