# SPDX-License-Identifier: GPL-2.0-only
"""What ends a command that uses more than it may."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kstep.toolchain import HostToolchain, LimitError
from kstep.toolchain.limits import Limits, size

if TYPE_CHECKING:
    from pathlib import Path

AMPLE = Limits(seconds=60, silence=60, memory=1 << 30, processes=100, disk=1 << 30)


def run(script: str, folder: Path, limits: Limits) -> list[str]:
    """Run a script on the host; return its lines."""
    lines: list[str] = []
    HostToolchain("test").run(
        ["sh", "-c", script], cwd=folder, writable=[folder], limits=limits, on_line=lines.append
    )
    return lines


def test_what_stays_within_them_is_not_touched(tmp_path: Path) -> None:
    assert run("echo one; sleep 1; echo two", tmp_path, AMPLE) == ["one", "two"]


@pytest.mark.parametrize(
    ("script", "limits", "reason"),
    [
        ("echo on; sleep 60", replace(AMPLE, silence=1), "1 s without a line of output"),
        ("while :; do echo on; sleep 0.1; done", replace(AMPLE, seconds=1), "more than 1 s"),
        (
            "while :; do echo on; head -c 1000000 /dev/zero >> full; sleep 0.1; done",
            replace(AMPLE, disk=4 << 20),
            "more than 0.00391 GiB of disk",
        ),
    ],
)
def test_what_does_not_is_ended_and_named(
    script: str, limits: Limits, reason: str, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(LimitError) as error:
        run(script, tmp_path, limits)
    assert (error.value.reason, str(error.value)) == (reason, f"ended by kstep: it used {reason}")
    assert error.value.details[-1:] == ("on",)
    assert time.monotonic() - began < 30


def test_a_size_is_that_of_the_blocks_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/sparse").touch()
    with (tmp_path / "in/sparse").open("r+b") as sparse:
        sparse.truncate(1 << 30)
    (tmp_path / "in/full").write_bytes(b"x" * (1 << 20))
    (tmp_path / "in/link").symlink_to("/")
    assert 1 << 20 <= size(tmp_path) < 3 << 20
    assert size(tmp_path / "nothing") == 0


def test_a_build_of_a_kernel_is_not_near_them() -> None:
    usual = Limits.of_a_build()
    assert usual.silence >= 600
    assert usual.processes >= 4096
    assert 0 < usual.memory < 1 << 50
