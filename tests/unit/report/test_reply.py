# SPDX-License-Identifier: GPL-2.0-only
"""reply.txt: what stands in it, in which order, and how wide."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.report.reply import TESTED_BY, may_sign, reply
from tests.unit.results.material import ASKED, a_cell, a_record

if TYPE_CHECKING:
    from kstep.results.cell import CellRecord
    from kstep.results.request import Asked

NOWHERE = Path("/nonexistent")
GOOD = [a_cell("none", seen="stuck"), a_cell("v5/1")]
BAD = [a_cell("none"), a_cell("v5/1", seen="splat", message="it complained")]


def test_what_is_fixed_comes_first_then_what_breaks_then_the_table() -> None:
    fixed = [a_cell("none", "s[a]", seen="stuck"), a_cell("v5/1", "s[a]")]
    text = reply(a_record(NOWHERE, *fixed, *BAD))
    assert text.startswith("Compared with the same kernel without the series:\n\nv5/1:\n")
    places = ["fixes 1 of 1 failing test:\n  - s[a]", "breaks 1 of 1 passing test:"]
    places += ["step-in-order[up_read]: splat: it complained", "up_read  "]
    places += ["What was tested:", "To repeat it"]
    found = [text.index(place) for place in places]
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("cells", "signed"),
    [
        (GOOD, True),
        ([a_cell("none"), a_cell("v5/1")], True),
        (BAD, False),
        ([*GOOD, a_cell("v5/2", seen="no-boot")], False),
        ([a_cell("none")], False),
        ([a_cell("v5/1")], False),
        ([a_cell("none", seen="no-boot"), a_cell("v5/1")], False),
        ([], False),
    ],
)
def test_a_tester_signs_what_was_measured_and_broke_nothing(
    cells: list[CellRecord],
    signed: bool,  # noqa: FBT001 -- a row
) -> None:
    record = a_record(NOWHERE, *cells)
    assert may_sign(record) == signed
    assert (TESTED_BY in reply(record)) == ("Tested-by" in reply(record)) == signed


def test_what_was_tested_is_named() -> None:
    text = " ".join(reply(a_record(NOWHERE, *GOOD)).split())
    for what in (
        "debian:6.1: 6.1.192, sha256 7e7e7e7e7e7e",
        "v5/1 applied, v5/2 reverted; config 3c3c3c3c3c3c, image 1a1a1a1a1a1a",
        "compiler: gcc 12.2.0",
        "machine: qemu 7.2.9",
    ):
        assert what in text
    assert "TCG" not in text  # nobody recorded it


def test_without_the_unpatched_kernel_nothing_is_said_of_regressions() -> None:
    text = " ".join(reply(a_record(NOWHERE, a_cell("v5/1"))).split())
    assert text.startswith("Nothing can be said about regressions: the kernel without the")


def repeating(asked: Asked) -> str:
    """Draw the reply to a run of such a request, and read the command as a shell does."""
    record = a_record(NOWHERE, *GOOD)
    record.request = asked
    lines = reply(record).splitlines()
    assert all(len(line) <= 72 for line in lines)
    start = next(n for n, line in enumerate(lines) if line.startswith("To repeat it")) + 2
    command = "\n".join(lines[start : lines.index("", start)])
    return " ".join(shlex.split(command.replace("\\\n", "")))


@pytest.mark.parametrize("tree", ["debian:6.1", "path:/" + "long/" * 9, "path:/" + "x" * 200])
def test_the_command_survives_the_wrapping(tree: str) -> None:
    asked = replace(ASKED, trees=(tree,), variants=("none", "v6/1"))
    assert repeating(asked) == (
        f"./inv verify --series v5,v6 --tree {tree} --kconfig base --variants none,v6/1"
    )


# Every one of them is a column wide; of others, columns and characters are not the same.
narrow = st.characters(max_codepoint=0x24F, exclude_categories=("Mn", "Me", "Cf"))


@given(st.text(narrow), st.text(narrow))
def test_no_line_is_longer_than_72_columns(text: str, name: str) -> None:
    cells = [a_cell("none", f"s[{name}]"), a_cell("v5/1", f"s[{name}]", "stuck", message=text)]
    drawn = reply(a_record(NOWHERE, *cells))
    drawn.encode("utf-8")
    assert all(len(line) <= 72 for line in drawn.split("\n"))


def test_the_host_under_whose_kvm_it_was_is_named(tmp_path: Path) -> None:
    record = a_record(tmp_path, a_cell())
    suite = "Debian bookworm, Linux 6.1.0-57-arm64 (6.1.192-3), QEMU 1:7.2+dfsg-7"
    host = {"accel": "emulated-kvm", "emulated_host": suite}
    record.run = replace(record.run, host=host)
    said = " ".join(reply(record).split())
    assert f", emulated-kvm on an emulated host: {suite}" in said
