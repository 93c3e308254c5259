# SPDX-License-Identifier: GPL-2.0-only
"""Source lines, from what addr2line says; on real kernels in tests/integration."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from kstep.base.errors import MachineryError
from kstep.image.debuginfo import keep, source_lines
from kstep.results.layout import lines_file as place
from kstep.results.setup import Setup

if TYPE_CHECKING:
    from pathlib import Path

SAID = [
    "/build/debian/source/fs/namei.c:4021",
    "/build/debian/source/./include/linux/sched.h:12 (discriminator 3)",
    "??:?",
]


class Binutils:
    """A toolchain whose addr2line says what it is told to; None: it cannot be run."""

    def __init__(self, said: list[str] | None) -> None:
        self.said = said
        self.argv: list[str] = []

    def run(self, argv: list[str], *, on_line: Any, **_more: object) -> None:  # noqa: ANN401 -- a callable
        """Say what there is to say."""
        self.argv = argv
        if self.said is None:
            raise MachineryError("gone")
        for line in self.said:
            on_line(line)


def a_kernel(folder: Path) -> Any:  # noqa: ANN401 -- stands for a Kernel
    return SimpleNamespace(vmlinux=folder / "vmlinux", folder=folder)


def test_lines_are_named_from_the_top_of_the_source(tmp_path: Path) -> None:
    tools: Any = Binutils(SAID)
    found = source_lines(a_kernel(tmp_path), [16, 20, 24], tools)
    assert found == {16: "fs/namei.c:4021", 20: "include/linux/sched.h:12"}
    assert tools.argv[-3:] == ["0x10", "0x14", "0x18"]


@pytest.mark.parametrize("said", [None, []])
def test_without_an_answer_there_are_none(tmp_path: Path, said: list[str] | None) -> None:
    tools: Any = Binutils(said)
    assert source_lines(a_kernel(tmp_path), [16], tools) == {}


def test_every_address_of_the_traces_is_asked_for_once(tmp_path: Path) -> None:
    for name, stepped in (("a", ["0x14", "0x10"]), ("b", ["0x10", "0x18"]), ("c", [])):
        (tmp_path / name).write_text("".join(f'{{"pc": "{pc}"}}\n' for pc in stepped))
    tools: Any = Binutils(SAID)
    keep(a_kernel(tmp_path), [tmp_path / name for name in "abc"], tmp_path / "lines.json", tools)
    assert list(json.loads((tmp_path / "lines.json").read_text())) == ["0x10", "0x14"]
    assert tools.argv[-3:] == ["0x10", "0x14", "0x18"]


def test_a_kernel_that_nobody_stepped_has_no_file(tmp_path: Path) -> None:
    tools: Any = Binutils(SAID)
    keep(a_kernel(tmp_path), [], tmp_path / "lines.json", tools)
    assert not (tmp_path / "lines.json").exists()
    assert not tools.argv


def test_the_file_is_beside_the_cells_of_its_kernel() -> None:
    assert place(Setup("debian:6.1", "base"), "v6/1+2") == "cells/debian=6.1/base/v6,1+2/lines.json"
