# SPDX-License-Identifier: GPL-2.0-only
"""A container that is kept, by a real engine: its programs, and how it ends."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.deadline import Deadline
from kstep.toolchain import DockerToolchain
from kstep.toolchain.host import DIE_WITH_PARENT
from tests.integration.command import ROOT

if TYPE_CHECKING:
    from kstep.run.preparation import Prepared
    from kstep.toolchain import Process

pytestmark = pytest.mark.kernel

# It says what is there before it, and leaves a process in a session of its own, and files.
LITTER = """\
set -- "$1" /proc/[0-9]* /tmp/* "$1"/*
echo $#
touch /tmp/left "$1/left"
setsid sleep 1000 &
exec sleep 1000
"""
KEEPS = """\
import sys, pickle, time
from pathlib import Path
toolchain = pickle.load(sys.stdin.buffer)
with toolchain.kept(), toolchain.bay([Path.cwd() / "kstep"]) as bay:
    process = bay.spawn(["sleep", "1000"])
    while len(process.processes()) < 4:
        time.sleep(0.01)
    print(*process.processes(), flush=True)
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def tools(prepared: Prepared) -> DockerToolchain:
    """Return the toolchain, if it is a container engine's."""
    if not isinstance(prepared.toolchain, DockerToolchain):
        pytest.skip("no container engine answers")
    return prepared.toolchain


def said(process: Process, lines: int) -> list[str]:
    """Wait for the output of a program."""
    deadline = Deadline.after(20)
    while process.output().count("\n") < lines and deadline.left:
        time.sleep(0.01)
    return process.output().splitlines()


def test_programs_of_a_container_do_not_meet(tools: DockerToolchain, tmp_path: Path) -> None:
    with tools.kept():
        rounds = []
        for _ in range(2):
            with tools.bay([tmp_path]) as bay:
                process = bay.spawn(["sh", "-c", LITTER, "sh", str(bay.folder)])
                rounds.append((said(process, 2)[0], process.processes()))
                process.kill()
                assert bay.folder.exists()
            assert not bay.folder.exists()
        assert rounds[0][0] == rounds[1][0]
        (first, second) = (set(pids) for _, pids in rounds)
        assert len(first & second) == 2, "init and the supervisor"
        with tools.bay([tmp_path]) as bay:
            process = bay.spawn(["sh", "-c", "echo no such machine >&2; exit 3"])
            assert said(process, 1) == ["no such machine"]
            deadline = Deadline.after(20)
            while process.alive() and deadline.left:
                time.sleep(0.01)
            assert not process.alive()
            process.kill()


def test_a_container_ends_with_the_process_that_keeps_it(tools: DockerToolchain) -> None:
    """By SIGKILL: nobody ends it, but the other end of its input is gone."""
    with subprocess.Popen(
        [*DIE_WITH_PARENT, sys.executable, "-c", KEEPS],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdin.write(pickle.dumps(tools))
        keeper.stdin.close()
        pids = keeper.stdout.readline().split()
        assert len(pids) >= 4
        keeper.kill()
    deadline = Deadline.after(10)
    while (left := [pid for pid in pids if _runs(pid.decode())]) and deadline.left:
        time.sleep(0.01)
    assert left == []
    tools.end_orphans()


def _runs(pid: str) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
