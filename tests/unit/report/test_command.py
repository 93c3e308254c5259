# SPDX-License-Identifier: GPL-2.0-only
"""The command that repeats a run, and one cell of it."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.report import command
from tests.unit.results.material import ASKED, a_cell, a_record

if TYPE_CHECKING:
    from kstep.results.record import Record
    from kstep.results.request import Asked

CELL = a_cell("v6/1").cell
USUAL = "--series v5,v6 --tree debian:6.1 --kconfig base"


def made_by(asked: Asked | None, argv: tuple[str, ...] = ("verify",)) -> Record:
    """Make a run that kept such a request, or none."""
    record = a_record(Path("/nonexistent"))
    record.request = asked
    record.run = replace(record.run, argv=argv)
    return record


def test_a_run_is_repeated_as_it_was_asked_for() -> None:
    assert command.whole(made_by(ASKED)) == f"./inv verify {USUAL}"
    asked = replace(ASKED, matrix="prefixes", repeat=20, jobs=2, toolchain="host", accel="tcg")
    assert command.whole(made_by(asked)) == (
        f"./inv verify {USUAL} --matrix prefixes --repeat 20 --jobs 2 --toolchain host --accel tcg"
    )
    asked = replace(ASKED, variants=("none", "v6/1"), sessions=("perf", "kgdbts"))
    assert command.whole(made_by(asked)) == (
        f"./inv verify {USUAL} --variants none,v6/1 --sessions perf,kgdbts"
    )


def test_a_cell_is_repeated_alone_once_with_none_beside_it() -> None:
    asked = replace(ASKED, trees=("path:/linux", "debian:6.1"), toolchain="host", repeat=20, jobs=3)
    narrowed = f"{USUAL} --variants none,v6/1 --sessions 'step-in-order[up_read]' --toolchain host"
    assert command.narrowed(made_by(asked), CELL) == f"./inv verify {narrowed}"
    assert "--variants none --" in command.narrowed(made_by(asked), a_cell("none").cell)


@pytest.mark.parametrize(
    ("sessions", "selector"),
    [
        ((), "step-in-order[vfs_mkdir]"),
        (("perf", "step-in-order"), "step-in-order[vfs_mkdir]"),
        (("step-in-order[f]", "step-in-order[vfs_mkdir]"), "step-in-order[vfs_mkdir]"),
        (("./mine.py::step-in-order",), "./mine.py::step-in-order[vfs_mkdir]"),
    ],
)
def test_one_case_is_repeated_alone(sessions: tuple[str, ...], selector: str) -> None:
    cell = replace(CELL, case="vfs_mkdir")
    words = shlex.split(command.narrowed(made_by(replace(ASKED, sessions=sessions)), cell))
    assert words[words.index("--sessions") + 1] == selector


def test_a_case_that_was_not_asked_for_is_repeated_by_no_request() -> None:
    asked = replace(ASKED, sessions=("step-in-order[f]",))
    cell = replace(CELL, case="vfs_mkdir")
    assert command.narrowed(made_by(asked), cell) == command.whole(made_by(asked))


def test_a_configuration_is_named_as_it_was_typed() -> None:
    """A cell has only the file's stem, which verify does not find."""
    typed = "my conf/mine.config+lockdown"
    asked = replace(ASKED, kconfigs={"base": "base", "mine+lockdown": typed})
    cell = a_cell("v6/1", kconfig="mine+lockdown").cell
    words = shlex.split(command.narrowed(made_by(asked), cell))
    assert words[words.index("--kconfig") + 1] == typed


def test_a_machine_that_is_not_ours_runs_one_kernel() -> None:
    """Verify refuses --machine with two variants."""
    asked = replace(ASKED, variants=("v6/1",), machine="tcp:board:2000", reset="relay off on")
    assert command.narrowed(made_by(asked), CELL) == (
        f"./inv verify {USUAL} --variants v6/1 --sessions 'step-in-order[up_read]'"
        " --machine tcp:board:2000 --reset 'relay off on'"
    )


@pytest.mark.parametrize("asked", [ASKED, replace(ASKED, folder="../my linux")])
def test_what_was_typed_elsewhere_is_repeated_from_there(asked: Asked, tmp_path: Path) -> None:
    """As a shell in kstep's folder runs it: twice, for the first must not leave it elsewhere."""
    (tmp_path / "kstep").mkdir()
    (tmp_path / "my linux").mkdir()
    (tmp_path / "kstep/inv").write_text('#!/bin/sh\necho "$PWD $0 $*"\n')
    (tmp_path / "kstep/inv").chmod(0o755)
    line = command.whole(made_by(asked))
    said = run_in_shell(f"{line}; {line}", tmp_path / "kstep").splitlines()
    folder = (tmp_path / "kstep" / asked.folder).resolve()
    inv = "./inv" if asked is ASKED else f"{tmp_path}/kstep/inv"
    assert said == [f"{folder} {inv} verify {USUAL}"] * 2


def run_in_shell(line: str, folder: Path) -> str:
    """Type a line to a shell, and return what it prints."""
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("verify", "--series=a b.mbox"), "./inv verify '--series=a b.mbox'"),
        (("--search-root", "/home/me/kstep", "verify", "-s", "v6"), "./inv verify -s v6"),
        ((), "./inv"),
    ],
)
def test_a_run_without_its_request_has_what_was_typed(argv: tuple[str, ...], line: str) -> None:
    """As those of before it was kept."""
    record = made_by(None, argv)
    assert command.whole(record) == command.narrowed(record, CELL) == line


def test_the_tools_of_a_cell_are_named_if_they_are_not_the_usual_ones() -> None:
    asked = replace(ASKED, compilers=("gcc", "clang"), suites=("bookworm", "trixie"))
    assert "--compiler gcc,clang --suite bookworm,trixie" in command.whole(made_by(asked))
    cell = replace(CELL, compiler="clang", suite="trixie")
    narrowed = command.narrowed(made_by(asked), cell)
    assert "--compiler clang --suite trixie --variants none,v6/1" in narrowed
    cell = replace(CELL, suite="trixie")
    assert "--compiler" not in command.narrowed(made_by(asked), cell)
    assert "--sessions" not in command.narrowed(made_by(asked), CELL), "no suite was not asked for"
