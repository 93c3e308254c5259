# SPDX-License-Identifier: GPL-2.0-only
"""The command that repeats a cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kstep.report import command
from tests.unit.results.material import a_cell, a_record

RUN = a_record(Path("/nonexistent")).run
CELL = a_cell("v6/1").cell
NARROWED = "--tree debian:6.1 --kconfig base --variants none,v6/1 --sessions step-in-order"


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        (["verify"], ""),
        (["verify", "--series", "v6", "--jobs", "2", "--out", "x"], "--series v6 "),
        (["verify", "--series=a b.mbox", "--repeat=20"], "--series 'a b.mbox' "),
        (["--search-root", "/home/me/kstep", "verify", "--toolchain=host"], "--toolchain host "),
        (["verify", "--tree=path:/linux,debian:6.1", "--sessions=a,b", "--variants=none"], ""),
    ],
)
def test_what_was_typed_is_narrowed_to_the_cell(argv: list[str], kept: str) -> None:
    run = replace(RUN, argv=tuple(argv))
    assert command.narrowed(run, CELL) == f"./inv verify {kept}{NARROWED}"


def test_none_stands_alone() -> None:
    assert "--variants none --" in command.narrowed(RUN, a_cell("none").cell)


@pytest.mark.parametrize(
    "argv",
    [["verify", "-s", "v6"], ["verify", "v6"], ["verify", "--series"], ["bisect", "--x=y"], []],
)
def test_what_is_not_understood_is_repeated_as_it_is(argv: list[str]) -> None:
    run = replace(RUN, argv=("--search-root", "/k", *argv))
    assert command.narrowed(run, CELL) == command.whole(run) == " ".join(["./inv", *argv])


def test_the_whole_run_goes_to_another_folder() -> None:
    run = replace(RUN, argv=("verify", "--series", "v6", "--out", "x", "--repeat", "3"))
    assert command.whole(run) == "./inv verify --series v6 --repeat 3"
