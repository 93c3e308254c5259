# SPDX-License-Identifier: GPL-2.0-only
"""What runs if a command does not reach the function that it should reach."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kstep.arm64.entry import INTERRUPT
from kstep.base.outcome import KernelFault
from kstep.hand.callers import callers
from kstep.image.debuginfo import source_lines
from kstep.session.target import Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from kstep.image.symbols import Symbols
    from kstep.machine.hardware import Hardware
    from kstep.run.preparation import Prepared

SYSTEM_CALL = "__arm64_sys_"  # asm/syscall_wrapper.h
WATCHED = 3.0  # seconds that a command is watched, before the time scale; about 100 MB of log
KTHREADD = 2  # the parent of kernel threads
MOST = 8  # names in a list
FRAMES = 6  # functions of a task's backtrace that are shown


def shortened(names: Sequence[str], most: int = MOST) -> str:
    """Join names; of a long list only the first ``most``, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def still_running(target: Target) -> str:
    """Say where the command is that has not ended; raises KernelFault if nothing answers.

    The kernel is in kdb afterwards.
    """
    target.break_in()
    tasks = {task.pid: task for task in target.kdb.tasks() if task.parent != KTHREADD}
    parents = {task.parent for task in tasks.values()}
    leaves = [task for pid, task in tasks.items() if pid > 1 and pid not in parents]
    where = [f"{task.name} (pid {task.pid}) in {_location(target, task.pid)}" for task in leaves]
    said = f"what runs instead: {'; '.join(where) or 'nothing'}"
    itself = [task.parent for task in leaves] == [1]
    return f"{said}, which is the shell itself" if itself else said


def _location(target: Target, pid: int) -> str:
    """Say where a task is; if BREAK has interrupted it, where it was then."""
    frames = target.kdb.backtrace(pid)
    if "kgdb_handle_exception" in frames:
        handlers = [number for number, name in enumerate(frames) if INTERRUPT.search(name)]
        frames = frames[handlers[-1] + 1 :] if handlers else frames
    return " < ".join(frames[:FRAMES]) or "user space"


def what_ran(
    prepared: Prepared,
    hardware: Hardware,
    symbols: Symbols,
    stop_points: Collection[int],
    trigger: str,
) -> str:
    """Say what a command ran that misses ``stop_points``, from QEMU's log of executed code.

    Its system calls (including the shell's), which callers of the function ran, and which other
    functions of its source file.
    """
    kernel = prepared.built[0].require()
    with prepared.machine(kernel, hardware) as machine:
        machine.boot()
        target = Target(machine, symbols)
        with machine.executed() as pcs, suppress(KernelFault):
            target.ask(trigger, WATCHED)
    entered = [symbols.locate(pc) for pc in sorted(pcs)]
    ran = {each.symbol: each.address for each in entered if each.symbol and not each.offset}
    calls = [name.removeprefix(SYSTEM_CALL) for name in ran if name.startswith(SYSTEM_CALL)]
    lines = source_lines(kernel, [*stop_points, *ran.values()], prepared.toolchain)
    files = {address: line.rpartition(":")[0] for address, line in lines.items()}
    own = {files[address] for address in stop_points if address in files}
    beside = [name for name, address in ran.items() if files.get(address) in own]
    return (
        f"what ran instead: the system calls {shortened(calls, 2 * MOST) or 'none'};"
        f" {_callers(callers(kernel, symbols, stop_points), ran)};"
        f" in {shortened(sorted(own)) or 'its file'}: {shortened(beside) or 'nothing'}"
    )


def _callers(names: Iterable[str], ran: Collection[str]) -> str:
    did = [name for name in names if name in ran]
    did_not = [name for name in names if name not in ran]
    if did:
        return f"its callers {shortened(did)}, which did not call it"
    if did_not:
        return f"none of its callers ({shortened(did_not)})"
    return "nothing calls it directly, so it is reached through a pointer or not at all"
