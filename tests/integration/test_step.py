# SPDX-License-Identifier: GPL-2.0-only
"""``./inv step`` as a user runs it: any function, any trigger, and what cannot be stepped."""

from __future__ import annotations

import subprocess

import pytest

from tests.integration.command import PATIENCE, ROOT

pytestmark = pytest.mark.kernel


def step(function: str, trigger: str, *options: str) -> tuple[int, list[str], str]:
    """Run it; return the status, its output, and the last line of its messages."""
    done = subprocess.run(
        [ROOT / "inv", "step", function, f"--trigger={trigger}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    said = done.stderr.strip().splitlines()
    return done.returncode, done.stdout.splitlines(), said[-1] if said else ""


def test_a_path_in_order_to_user_space() -> None:
    status, lines, said = step("set_fs_pwd", "cd /tmp", "--count=2000", "--variant=v6/1+2")
    assert status == 0, said
    assert lines[0].startswith("stopped at set_fs_pwd, pid ")
    assert lines[1].split()[:2] == ["1", "set_fs_pwd"]
    assert "fs/fs_struct.c:" in lines[1]
    assert {line[0] for line in lines[1:-1]} == {" "}
    assert "steps in order, to the path's end: " in lines[-1]


def test_a_path_into_an_interrupt_goes_on_there() -> None:
    status, lines, said = step("vfs_mkdir", "mkdir /tmp/new", "--count=10", "--variant=v6/2")
    assert status == 1, said
    assert [line[0] for line in lines[1:12]] == ["!", "!", *"i" * 9]
    assert "enters an interrupt: el1_interrupt+" in lines[2]
    assert lines[-1].startswith("enters-interrupt: step 1 from vfs_mkdir went to ")


@pytest.mark.parametrize(
    ("function", "trigger", "said"),
    [
        ("vfs_mkdri", "true", "similar names: vfs_mkdir"),
        ("fdget_pos", "true", "inlined into "),
        ("enter_from_kernel_mode", "true", ".noinstr.text; name one that calls it: "),
        ("do_el0_svc", "true", "entered with debug exceptions masked (PSTATE.D)"),
        ("vfs_mkdir", "no-such-command", "not found"),
        ("vfs_mkdir", "mkdir '", "unterminated quoted string"),
        ("vfs_rmdir", "mkdir /tmp/new", "what ran instead: the system calls "),
    ],
)
def test_what_cannot_be_stepped(function: str, trigger: str, said: str) -> None:
    status, lines, last = step(function, trigger)
    assert (status, lines) == (2, [])
    assert last.startswith("kstep: ")
    assert said in last
