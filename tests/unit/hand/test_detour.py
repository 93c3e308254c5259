# SPDX-License-Identifier: GPL-2.0-only
"""What a command does that does not reach the function: which words are made of what was seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.hand import detour

if TYPE_CHECKING:
    from kstep.session.target import Target

EIGHT = ["a", "b", "c", "d", "e", "f", "g", "h"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a"], "a"),
        (EIGHT, "a, b, c, d, e, f, g, h"),
        ([*EIGHT, "i", "j"], "a, b, c, d, e, f, g, h and 2 more"),
    ],
)
def test_of_many_names_the_first(names: list[str], said: str) -> None:
    assert detour.shortened(names) == said


@pytest.mark.parametrize(
    ("callers", "ran", "said"),
    [
        ([], {"f"}, "nothing calls it directly, so it is reached through a pointer or not at all"),
        (["f", "g"], {"h"}, "none of its callers (f, g)"),
        (["f", "g"], {"g", "h"}, "its callers g, which did not call it"),
    ],
)
def test_what_is_said_of_callers(callers: list[str], ran: set[str], said: str) -> None:
    assert detour._callers(callers, ran) == said


# -- a command that has not ended

SHELL = (1, 0, "init")
WORKER = (7, 2, "kworker/0:1")
SLEEP = ["hrtimer_nanosleep", "__arm64_sys_clock_nanosleep", "invoke_syscall"]


def stopped(
    tasks: list[tuple[int, int, str]], frames: dict[int, list[str]]
) -> tuple[Target, list[str]]:
    """Return a kernel with these tasks, number, parent and name; and what was done to it."""
    done: list[str] = []
    listed = [SimpleNamespace(pid=pid, parent=parent, name=name) for pid, parent, name in tasks]
    kdb = SimpleNamespace(
        tasks=lambda: listed if done else pytest.fail("it runs"), backtrace=frames.__getitem__
    )
    target = SimpleNamespace(kdb=kdb, break_in=lambda: done.append("break"))
    return cast("Target", target), done


def test_the_command_that_runs_is_named_and_where_it_is() -> None:
    target, done = stopped([SHELL, WORKER, (30, 1, "sh"), (31, 30, "sleep")], {31: SLEEP})
    assert detour.still_running(target) == (
        "what runs instead: sleep (pid 31) in hrtimer_nanosleep <"
        " __arm64_sys_clock_nanosleep < invoke_syscall"
    )
    assert done == ["break"]


def test_the_shell_itself_is_said_to_be_it() -> None:
    target, _ = stopped([SHELL, (30, 1, "sh")], {30: []})
    assert detour.still_running(target) == (
        "what runs instead: sh (pid 30) in user space, which is the shell itself"
    )


def test_several_that_run_are_all_named() -> None:
    target, _ = stopped([SHELL, (30, 1, "sh"), (31, 30, "a"), (32, 30, "b")], {31: [], 32: ["f"]})
    assert detour.still_running(target) == (
        "what runs instead: a (pid 31) in user space; b (pid 32) in f"
    )


def test_where_nothing_runs() -> None:
    target, _ = stopped([SHELL, WORKER], {})
    assert detour.still_running(target) == "what runs instead: nothing"


def test_of_the_one_that_was_interrupted_the_interrupt_is_left_out() -> None:
    """BREAK comes by an interrupt; a task that sleeps has none of that."""
    frames = [
        *("kgdb_handle_exception", "kgdb_compiled_brk_fn", "el1h_64_sync", "pl011_int"),
        *("gic_handle_irq", "el1_interrupt", "el1h_64_irq", "busy_loop", "vfs_write"),
    ]
    target, _ = stopped([SHELL, (31, 1, "dd")], {31: frames})
    assert detour.still_running(target).startswith(
        "what runs instead: dd (pid 31) in busy_loop < vfs_write"
    )


def test_a_long_backtrace_is_cut() -> None:
    target, _ = stopped([SHELL, (30, 1, "sh"), (31, 30, "x")], {31: [f"f{n}" for n in range(9)]})
    assert detour.still_running(target).endswith("in f0 < f1 < f2 < f3 < f4 < f5")
