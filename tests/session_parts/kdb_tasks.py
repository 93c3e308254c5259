# SPDX-License-Identifier: GPL-2.0-only
"""Checks of kdb's commands for tasks and their stacks.

They compare with the guest's /proc, and stacks with the frame records in memory.
"""

from __future__ import annotations

import re
import struct
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.session.checks import checks, must, must_be

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.console.kdb import Kdb
    from kstep.session.target import Target

# The format of kernel/debug/kdb/kdb_main.c.
TASK = re.compile(
    r"^0x(?P<task>[0-9a-f]+) +(?P<pid>\d+) +(?P<parent>\d+)  (?P<runs>\d) +(?P<cpu>\d+)"
    r"   (?P<state>\S)  0x(?P<thread>[0-9a-f]+) (?P<current>[* ])(?P<name>.*)$",
    re.MULTILINE,
)
STAT = re.compile(r"^(?P<pid>\d+) \((?P<name>.*)\) \S (?P<parent>\d+) ", re.MULTILINE)
# Only the shell's built-in commands, so that no process starts or ends.
LIST = 'for each in /proc/[0-9]*/stat; do read -r line < "$each"; echo "$line"; done'
NEXT_TASK = re.compile(rb"Enter <q> to end, <cr> or <space> to continue:\Z")
# arch/arm64/include/asm/processor.h: struct cpu_context comes first in a task's thread, and
# holds x19 to x28, fp, sp and pc.
SAVED = (*(f"x{number}" for number in range(19, 30)), "sp", "pc")
CONTEXT = struct.Struct(f"<{len(SAVED)}Q")
MOV_X29_SP = 0x9100_03FD  # completes the frame record
WAITS = "do_wait"  # where init waits for the shell


@dataclass(frozen=True)
class Shown:
    """A task as kdb shows it."""

    pid: int
    parent: int
    name: str
    state: str
    address: int
    thread: int
    current: bool


def shown(text: str) -> dict[int, Shown]:
    """Read the tasks that `ps` printed, by their pid."""
    return {
        int(each["pid"]): Shown(
            int(each["pid"]),
            int(each["parent"]),
            each["name"],
            each["state"],
            int(each["task"], 16),
            int(each["thread"], 16),
            each["current"] == "*",
        )
        for each in TASK.finditer(text)
    }


def listed(target: Target) -> dict[int, tuple[str, int]]:
    """Ask the guest for its tasks: name and parent by pid, without kernel workers."""
    return {
        int(each["pid"]): (each["name"], int(each["parent"]))
        for each in STAT.finditer(target.run(LIST).text)
        if not each["name"].startswith("kworker/")  # they start and end at any time
    }


def saved(target: Target, task: Shown) -> dict[str, int]:
    """Return the registers of a task that does not run, which are in its thread."""
    return dict(zip(SAVED, CONTEXT.unpack(target.read(task.thread, CONTEXT.size)), strict=True))


@contextmanager
def stopped_in_mkdir(target: Target) -> Iterator[Kdb]:
    """Stop in vfs_mkdir(), after it has made its frame record."""
    with target.in_kdb() as kdb:
        inside = target.find("vfs_mkdir", lambda word: word == MOV_X29_SP) + 4
    with target.stopped_at(inside, "mkdir /tmp/new && rmdir /tmp/new"):
        yield kdb


def ps(target: Target) -> None:
    """`ps A` lists all tasks with their names and parents, and marks the current one."""
    before = listed(target)
    with target.in_kdb() as kdb:
        tasks = shown(kdb.command("ps A"))
        busy = shown(kdb.command("ps"))
    after = listed(target)
    for pid in before.keys() & after.keys():
        must(pid in tasks, f"ps A does not show {pid} ({before[pid][0]})")
        task, (name, parent) = tasks[pid], before[pid]
        must_be((task.name, task.parent), (name[:15], parent), f"name and parent of {pid}")
    strangers = [
        f"{pid} ({task.name})"
        for pid, task in tasks.items()
        if pid not in before.keys() | after.keys() and not task.name.startswith("kworker/")
    ]
    must(not strangers, f"ps A shows {', '.join(strangers)}, which /proc does not")
    shell = int(target.run("echo $$").text)
    must_be([task.pid for task in tasks.values() if task.current], [shell], "the current task")
    idle = {pid for pid, task in tasks.items() if task.state in "ims-IM"}  # capitals before 5.16
    must_be(busy.keys() & before.keys(), (tasks.keys() - idle) & before.keys(), "ps without A")


def pid(target: Target) -> None:
    """`pid N` switches kdb to another task, with its stack but no registers; `pid R` back."""
    shell = int(target.run("echo $$").text)
    with target.in_kdb() as kdb:
        registers = kdb.registers()
        must(f"(pid={shell})" in kdb.command("pid"), "pid does not name the shell")
        must("init(pid=1)" in kdb.command("pid 1"), "pid 1 does not name init")
        text = kdb.command("bt")
        must(list(shown(text)) == [1], "bt after pid 1 is of another task")
        target.must_show_stack(text, saved(target, shown(text)[1]))
        must(kdb.refusal("rd") != "", "rd shows registers of a task that does not run")
        must("No task" in kdb.command("pid 32000"), "pid finds a task that does not exist")
        kdb.command("pid R")
        must_be(kdb.registers(), registers, "the registers after pid R")


def bt(target: Target) -> None:
    """`bt` shows the function of the breakpoint and those that called it, in order."""
    with stopped_in_mkdir(target) as kdb:
        registers = kdb.registers()
        text = kdb.command("bt")
        target.must_show_stack(text, registers)
        names = re.findall(r"^ (\w+)\+", text, re.MULTILINE)
        known = ["vfs_mkdir", "__arm64_sys_mkdirat", "do_el0_svc"]
        must([name for name in names if name in known] == known, f"bt shows {names}")
        must_be([task.current for task in shown(text).values()], [True], "bt's task")


def bt_of_a_stack(target: Target) -> None:
    """`bt ADDRESS`, `btp`, `btt` and `btc` show the same stack as `bt`."""
    with stopped_in_mkdir(target) as kdb:
        registers = kdb.registers()
        (task,) = shown(kdb.command("bt")).values()
        for command in (f"btp {task.pid}", f"btt {task.address:#x}", "btc", "btc 0"):
            text = kdb.command(command)
            must_be(list(shown(text)), [task.pid], f"the task of {command}")
            target.must_show_stack(text, registers)
        must("No process" in kdb.command("btp 32000"), "btp finds a task that does not exist")
        must(kdb.refusal("btt 0x10") != "", "btt accepts address 0x10")


def btp(target: Target) -> None:
    """`btp` shows the stack of a task that sleeps: init, which waits for the shell."""
    with target.in_kdb() as kdb:
        text = kdb.command("btp 1")
        init = shown(text)[1]
        must_be((init.name, init.parent), ("init", 0), "init's name and parent")
        target.must_show_stack(text, saved(target, init))
        must(f" {WAITS}+" in text, f"init is not in {WAITS}()")


def bta(target: Target) -> None:
    """`bta A` shows the stack of every task, one at a time, until `q`."""
    with target.in_kdb() as kdb:
        tasks = shown(kdb.command("ps A"))
        seen: list[int] = []
        keys, text = b"bta A\r", ""
        while len(seen) < len(tasks):
            text = _one_of_bta(kdb, keys)
            (task,) = shown(text).values()
            if not task.current:
                target.must_show_stack(text, saved(target, task))
            seen.append(task.pid)
            keys = b" " if len(seen) % 2 else b"\r"
        kdb.press(keys)
        must_be(sorted(seen), sorted(tasks), "the tasks of bta A")
        _one_of_bta(kdb, b"bta\r")
        kdb.press(b"q")


def _one_of_bta(kdb: Kdb, keys: bytes) -> str:
    """Send keys; return what `bta` prints until it waits for a key, without the pager."""
    pager = rb"more> \Z"
    until = re.compile(NEXT_TASK.pattern + rb"|" + pager)
    said = b""
    while True:
        match = kdb.press(keys, until)
        said += match.string[: match.start()]
        if match[0] != b"more> ":
            return said.decode(errors="replace").replace("\r", "")
        keys = b" "


def kill(target: Target) -> None:
    """`kill -9` ends a process."""
    target.run("sleep 1000 & victim=$!")
    victim = int(target.run("echo $victim").text)
    with target.in_kdb() as kdb:
        must(victim in shown(kdb.command("ps")), f"ps does not show {victim}")
        if "not RUNNING" in kdb.command(f"kill -9 {victim}"):  # kdb asks for it twice
            kdb.command(f"kill -9 {victim}")
        must("isn't found" in kdb.command("kill -9 32000"), "kill finds a missing process")
    # 128 and the signal
    if "137" not in target.run("wait $victim; echo $?").text:
        raise KernelFault(Signature.WRONG_RESULT, "the process that kdb killed still runs")


CHECKS = checks(ps, pid, bt, bt_of_a_stack, btp, bta, kill)
