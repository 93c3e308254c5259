# SPDX-License-Identifier: GPL-2.0-only
"""Does kdb stop every CPU and resume every CPU?

Claim: a debugging patch must not break kdb on several CPUs: the round-up, `cpu`, `btc`,
breakpoints on any CPU. kgdbtest runs `btc` under load and checks that it ends.

Measured: on two CPUs, what kdb shows of each against memory that QEMU reads, the CPU of
each stop against the one that the task is bound to, and that all of them resume.

Refuted by a CPU that is not rounded up (`splat`), a stop or a task on the wrong CPU, a
wrong value (`wrong-result`), a CPU that does not answer afterwards (`hang`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.console.kdb import BREAKPOINT_HIT, KEYBOARD, STEPPED, Stop
from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware
from kstep.session.checks import checks, must, must_be
from kstep.session.session import session
from tests.session_parts.kdb_memory import word_at
from tests.session_parts.kdb_tasks import TASK, shown

if TYPE_CHECKING:
    from kstep.console.kdb import Kdb
    from kstep.session.checks import Check
    from kstep.session.target import Target

CPUS = 2
CALL = "__arm64_sys_getitimer"
ENTRY_ONLY = "Invalid cpu number"


def on(cpu: int, command: str) -> str:
    """Bind a command to a CPU."""
    return f"taskset {1 << cpu:x} {command}"


def switch(kdb: Kdb, cpu: int) -> None:
    """Switch kdb to a CPU, and check that this CPU answers."""
    match = kdb.press(f"cpu {cpu}\r".encode())
    stop = Stop.parse(match.string[: match.start()])
    if stop is None:
        raise MachineryError(f"kdb: cpu {cpu}: no stop in {match.string!r}")
    must_be(stop.cpu, cpu, f"the CPU that cpu {cpu} switches to")
    must_be(match["cpu"], b"%d" % cpu, "the CPU in the prompt")


def must_all_run(target: Target) -> None:
    """Check that every CPU runs a task and wakes it by its own timer."""
    target.run("cpus", 20)


def cpu(target: Target) -> None:
    """`cpu` shows another CPU and its registers; `go` works only on the CPU that entered kdb."""
    for entered in range(CPUS):
        with target.running(on(entered, "sh -c 'echo g > /proc/sysrq-trigger'")):
            must_be(target.expect_stop(KEYBOARD).cpu, entered, "the CPU of the stop")
            kdb = target.kdb
            status = kdb.command("cpu")
            must(f"Currently on cpu {entered}\n" in status, f"cpu says {status!r}")
            must("D" not in status.partition("Available")[2], f"a CPU is lost: {status!r}")
            mine = kdb.registers()
            other = 1 - entered
            switch(kdb, other)
            theirs = kdb.registers()
            must(theirs["sp"] != mine["sp"], "two CPUs share one stack")
            saved = word_at(target, kdb.address("kdb_current_regs"))
            must_be(theirs["pc"], word_at(target, saved + 32 * 8), "the other CPU's pc")
            must_be(kdb.refusal("go"), ENTRY_ONLY, "go on a CPU that did not enter kdb")
            for wrong in (CPUS, 7, 99):
                must_be(kdb.refusal(f"cpu {wrong}"), ENTRY_ONLY, f"cpu {wrong}")
            switch(kdb, entered)
            back = kdb.registers()
            # On exit kdb moves the pc past its own BRK (arch/arm64/kernel/kgdb.c).
            must(back["pc"] - mine["pc"] in (0, 4), f"the pc is {back['pc']:#x} after cpu twice")
            must_be(back, mine | {"pc": back["pc"]}, "the registers after cpu twice")
            target.go()
    must_all_run(target)


def btc(target: Target) -> None:
    """`btc` shows what runs on each CPU, repeatedly and under load."""
    loop = "sh -c 'while :; do :; done'"
    target.run("pids=")
    for each in range(CPUS):
        target.run(f'{on(each, loop)} & pids="$pids $!"')
    for _ in range(8):
        with target.in_kdb() as kdb:
            running = {
                int(each["pid"])
                for each in TASK.finditer(kdb.command("ps A"))
                if each["runs"] == "1"
            }
            text = kdb.command("btc")
            tasks = shown(text)
            must_be(set(tasks), running, "the tasks of btc")
            must_be(text.count("Stack traceback"), CPUS, "the stacks of btc")
            must_be(text.count("Call trace:"), CPUS, "the call traces of btc")
    target.run("kill $pids; wait")
    must_all_run(target)


def per_cpu(target: Target) -> None:
    """`per_cpu` shows each CPU's copy of a variable."""
    with target.in_kdb() as kdb:
        variable, offsets = kdb.address("kstat"), kdb.address("__per_cpu_offset")
        wanted = {}
        for each in range(CPUS):
            offset = word_at(target, offsets + 8 * each)
            address = (variable + offset) % (1 << 64)
            wanted[each] = (address, word_at(target, address))
        text = kdb.command("per_cpu kstat")
        rows = re.findall(r"^ *(\d+) 0x([0-9a-f]+) ([0-9a-f]+) ", text, re.MULTILINE)
        got = {int(each): (int(address, 16), int(value, 16)) for each, address, value in rows}
        must_be(got, wanted, "kstat of each CPU")
        must(kdb.refusal("per_cpu kstat 8 7") != "", "per_cpu accepts a CPU that does not exist")


def stops_on_each(target: Target) -> None:
    """A breakpoint stops the CPU that reaches it, and a step stays on that CPU."""
    for bound in (1, 0, 1):
        with target.stopped_at(CALL, on(bound, "syscall getitimer 1 0 @")) as call:
            stop = call.stop
            must_be((stop.reason, stop.cpu), (BREAKPOINT_HIT, bound), "the stop")
            call.clear()
            step = target.step_unjudged()
            must_be((step.reason, step.cpu, step.pid), (STEPPED, bound, stop.pid), "the step")
    must_all_run(target)


CHECKS = checks(cpu, btc, per_cpu, stops_on_each)


@session(
    claim="kdb stops every CPU and resumes every CPU.",
    cases=CHECKS,
    hardware=Hardware(cpus=CPUS),
    requires={Capability.MEMORY_PAST_KERNEL: "it compares what kdb shows with memory"},
    area="kdb and gdb",
)
def kdb_cpus(target: Target, check: Check) -> None:
    """Run one check."""
    check.run(target)
