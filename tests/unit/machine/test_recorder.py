# SPDX-License-Identifier: GPL-2.0-only
"""The record of QEMU's plugin, and that the plugin compiles for each plugin interface."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.machine.execution import Execution, Interruption
from kstep.machine.recorder import INTERFACES, SOURCE, parse

if TYPE_CHECKING:
    from pathlib import Path

STEP = ["0 go", "0 in 280", "0 out 2904 -", "0 at ffff800008200000", "0 in 200", "0 stop 1"]


def test_a_step_is_its_instruction_and_the_handlers_before_it() -> None:
    found = parse(STEP, 0)
    assert found == Execution(
        (Interruption(0x280, 2904), 0xFFFF_8000_0820_0000, Interruption(0x200, None)), level=1
    )
    assert found.interruptions == (Interruption(0x280, 2904),)


def test_the_last_resume_counts_and_no_other_cpu() -> None:
    found = parse(["0 go", "0 at 4", "0 in 200", "0 stop 1", "1 at 44", *STEP, "1 go"], 0)
    assert found == parse(STEP, 0)


def test_an_abort_is_told_from_other_exceptions() -> None:
    found = parse(["0 go", "0 at 4", "0 in 200", "0 out 700 abort", "0 at 4", "0 stop 2"], 0)
    assert found.events[1] == Interruption(0x200, 700, abort=True)
    assert found.level == 2


def test_a_context_that_ran_on_is_not_whole() -> None:
    assert not parse(["0 go", "0 at 4", "0 more", "0 stop 1"], 0).whole


@pytest.mark.parametrize("lines", [[], ["0 stop 1"], ["0 go", "0 at 4"], ["1 go", "1 stop 1"]])
def test_a_record_without_the_step_is_no_verdict(lines: list[str]) -> None:
    with pytest.raises(MachineryError, match="no resume and stop"):
        parse(lines, 0)


@pytest.mark.parametrize("interface", [number for _, number in INTERFACES])
def test_the_plugin_compiles(interface: int, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    argv = [compiler, "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-DAPI={interface}"]
    subprocess.run([*argv, "-o", str(tmp_path / "recorder.so"), str(SOURCE)], check=True)
