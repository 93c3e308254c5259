# SPDX-License-Identifier: GPL-2.0-only
"""A machine that kstep did not start: a QEMU started by hand, with its serial line on TCP."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.integration.command import ROOT, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QEMU = "qemu-system-aarch64"
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which(QEMU) is None, reason="no QEMU outside of the container"),
]


@pytest.fixture
def reset(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Return a command that starts a new QEMU, as a person would, and the port of its line."""
    folder, pid = tmp_path / "boot", tmp_path / "pid"
    subprocess.run([ROOT / "inv", "guest", f"--out={folder}"], cwd=ROOT, check=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    start = [
        *(QEMU, "-machine", "virt,gic-version=3", "-cpu", "cortex-a76", "-m", "512"),
        *("-display", "none", "-nodefaults", "-no-reboot", "-daemonize", "-pidfile", str(pid)),
        *("-serial", f"tcp:127.0.0.1:{port},server=on,wait=off,nodelay=on"),
        *("-kernel", str(folder / "Image"), "-initrd", str(folder / "initramfs.cpio.gz")),
        *("-append", (folder / "cmdline").read_text().strip()),
    ]
    script = tmp_path / "reset"
    script.write_text(
        f"test ! -f {pid} || kill $(cat {pid})\n"
        f"while test -f {pid}; do sleep 0.1; done\n"
        f"{shlex.join(start)}\n"
    )
    yield f"sh {script}", port
    if pid.exists():
        subprocess.run(["kill", pid.read_text().strip()], check=False)


def test_the_same_sessions_come_to_the_same(tmp_path: Path, reset: tuple[str, int]) -> None:
    command, port = reset
    run = verify(
        tmp_path / "verify",
        "--series=v6",
        "--variants=v6/1+2",
        "--sessions=continue-past-breakpoint,step-to-user,step-smp,step-from-entry,gdb-step-in-order",
        f"--machine=tcp:127.0.0.1:{port}",
        f"--reset={command}",
    )
    assert run.status == 0, run.said
    outcomes = {(c["session"], c["outcome"], c["signature"]) for c in run.cells("v6/1+2")}
    assert outcomes == {
        ("continue-past-breakpoint", "pass", None),
        ("step-to-user", "fail", "enters-interrupt"),
        ("step-from-entry", "pass", None),
    }
    assert run.results["run"]["host"]["line"] == f"tcp:127.0.0.1:{port}"
    left_out = Counter(re.split("[^a-z-]", each["why"])[0] for each in run.results["left_out"])
    assert left_out == {
        "step-smp": 4,  # each case says how many CPUs it needs
        "step-from-entry": 1,
        "gdb-step-in-order": 1,  # what the session needs is said once for both cases
    }
