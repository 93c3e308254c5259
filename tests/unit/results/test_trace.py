# SPDX-License-Identifier: GPL-2.0-only
"""Traces read back: those of real kernels, and what is left of broken ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.results.trace import read, read_lines
from tests.unit.report.material import INTERRUPTED, WALKED

if TYPE_CHECKING:
    from pathlib import Path


def test_a_walk() -> None:
    steps = read(WALKED)
    assert len(steps) == 80
    assert all(step.in_order for step in steps)
    assert steps[0].at == "vfs_mkdir"
    assert [step.to for step in steps[:-1]] == [step.pc for step in steps[1:]]


def test_an_interrupted_one() -> None:
    first = read(INTERRUPTED)[0]
    assert (first.at, first.to_at, first.in_order) == ("get_avenrun", "el1_interrupt+0x1c", False)
    assert first.expected == (first.pc + 4,)
    assert first.word == 0xF0001CC3


def test_a_trace_that_was_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    (tmp_path / "cut").write_text(WALKED.read_text()[:1500])
    assert 3 < len(read(tmp_path / "cut")) < 8


@pytest.mark.parametrize("text", ["", "[]", "1", "{}", '{"n": "x"}', "[" * 100_000])
def test_what_is_no_step_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "t").write_text(text)
    assert read(tmp_path / "t") == []
    assert read_lines(tmp_path / "t") == {}


def test_where_nothing_is_there_are_no_steps(tmp_path: Path) -> None:
    assert read(None) == read(tmp_path) == []
    assert read_lines(None) == read_lines(tmp_path) == {}


@given(st.binary(max_size=100))
def test_any_bytes_are_taken(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "trace"
    path.write_bytes(content)
    assert read(path) == []
    read_lines(path)


def test_source_lines(tmp_path: Path) -> None:
    (tmp_path / "lines.json").write_text('{"0x10": "fs/namei.c:3"}')
    assert read_lines(tmp_path / "lines.json") == {16: "fs/namei.c:3"}
