# SPDX-License-Identifier: GPL-2.0-only
"""A process is told from every other: later ones, zombies, other namespaces, other machines."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kstep.base import owner

ROOT = Path(__file__).parents[3]


def test_a_process_that_runs_is_not_gone() -> None:
    own = owner.name()
    assert re.fullmatch(r"[0-9a-f]+-[0-9a-f]+-[0-9a-f]{6}", own)
    assert own == owner.name(os.getpid())
    assert not owner.is_gone(own)


def test_one_that_has_ended_is_gone_also_before_it_is_reaped() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        name = owner.name(child.pid)
        assert not owner.is_gone(name)
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert owner.is_gone(name)
        assert owner.name(child.pid) == ""
    assert owner.is_gone(name)


def test_a_later_process_of_the_same_number_is_another() -> None:
    pid, started, place = owner.name().split("-")
    assert owner.is_gone(f"{pid}-{int(started, 16) - 1:x}-{place}")


@pytest.mark.parametrize("name", ["", "-", "x", "1-2-3-4", "zz-1-{}", "1-1-ffffff"])
def test_nobody_here_can_tell_of_what_is_no_process_of_this_place(name: str) -> None:
    assert not owner.is_gone(name.format(owner.name().rpartition("-")[2]))


def test_a_process_of_another_pid_namespace_is_not_known_to_be_gone() -> None:
    """Its number is mostly that of no process here, or of another."""
    done = subprocess.run(
        [
            *("unshare", "--fork", "--pid", "--mount-proc", "--map-root-user"),
            *(sys.executable, "-c", "from kstep.base import owner; print(owner.name())"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no PID namespace can be made here: {done.stderr.strip()}")
    name = done.stdout.strip()
    assert name.startswith("1-")
    assert not owner.is_gone(name)


def test_of_before_a_reboot_nobody_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = owner.name()
    (tmp_path / "boot_id").write_text("another\n")
    monkeypatch.setattr(owner, "BOOT_ID", tmp_path / "boot_id")
    owner._scope.cache_clear()
    try:
        assert owner.name() != own
        assert not owner.is_gone(own)
    finally:
        owner._scope.cache_clear()
