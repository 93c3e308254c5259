# SPDX-License-Identifier: GPL-2.0-only
"""Two runs beside each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.report.compare import Comparison, compare
from kstep.report.compare_page import compare_page
from kstep.results.record import Record
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from kstep.results.cell import CellRecord

NOWHERE = Path("/nonexistent")


def repeats(*seen: str) -> list[CellRecord]:
    """Make the repeats of one cell."""
    return [a_cell(seen=word, repeat=number) for number, word in enumerate(seen, 1)]


def compared(old: list[CellRecord], new: list[CellRecord]) -> Comparison:
    """Compare runs of these cells."""
    return compare(a_record(NOWHERE, *old), a_record(NOWHERE, *new))


@pytest.mark.parametrize(
    ("old", "new", "kind", "status"),
    [
        (["pass"], ["pass"], None, 0),
        (["stuck"], ["stuck"], None, 0),
        (["pass"], ["stuck"], "broken", 1),
        (["stuck"], ["pass"], "fixed", 0),
        (["stuck"], ["rehit"], "otherwise", 1),
        (["pass"], ["no-boot"], "lost", 1),
        (["no-boot"], ["pass"], "found", 3),
        (["no-boot"], ["machine-died"], None, 3),
        (["pass"], [], "gone", 3),
        ([], ["stuck"], "new", 3),
        ([], [], None, 3),
        (["pass"] * 20, ["pass"] * 19 + ["stuck"], "broken", 1),
        (["pass", "stuck"], ["stuck", "pass"], None, 0),
        (["stuck"] + ["pass"] * 19, ["stuck"] * 12 + ["pass"] * 8, "rarer", 1),
        (["stuck"] * 12 + ["pass"] * 8, ["stuck"] + ["pass"] * 19, "oftener", 0),
        (["stuck"] * 5, ["stuck", "stuck"], None, 0),
    ],
)
def test_a_change_has_a_name(old: list[str], new: list[str], kind: str | None, status: int) -> None:
    found = compared(repeats(*old), repeats(*new))
    assert [change.kind for change in found.changes] == ([] if kind is None else [kind])
    assert found.status == status


def test_rates_are_told_with_their_test() -> None:
    found = compared(repeats(*["stuck"] * 4), repeats(*["pass"] * 4))
    text = " ".join(" ".join(found.text()).split())
    assert "stuck, 0% (0-49) of 4 -> pass, 100% (51-100) of 4 (p = 0.029)" in text


def test_what_broke_comes_first() -> None:
    old = [a_cell(name="a"), a_cell(name="b", seen="stuck"), a_cell(name="c")]
    new = [a_cell(name="a", seen="splat"), a_cell(name="b"), a_cell(name="d")]
    assert compared(old, new).text() == [
        "passed, and fails now: 1",
        "  debian:6.1/base/none a: pass -> splat",
        "",
        "failed, and passes now: 1",
        "  debian:6.1/base/none b: stuck -> pass",
        "",
        "no longer run: 1",
        "  debian:6.1/base/none c: pass",
        "",
        "not run before: 1",
        "  debian:6.1/base/none d: pass",
        "",
    ]


def test_the_headline_counts_what_is_worse_and_better() -> None:
    old = [a_cell(name="a"), a_cell(name="b", seen="stuck"), a_cell(name="c")]
    new = [a_cell(name="a", seen="splat"), a_cell(name="b"), a_cell(name="d")]
    assert compared(old, new).headline == "1 test worse, 1 better; 2 compared."
    assert compared(old, old).headline == "Nothing changed: 3 tests as before."
    assert compared(old, [a_cell(name="d")]).headline == "No test has a verdict in both runs."


def test_of_what_only_one_run_has_a_few_are_named() -> None:
    old = [a_cell(name=f"s{n:02}") for n in range(30)]
    text = compared(old, old[:5]).text()
    assert text[0] == "no longer run: 25"
    assert text[10:12] == [
        "  debian:6.1/base/none s14: pass",
        "  and 15 more, which --out FILE lists",
    ]
    worse = [a_cell(name=f"s{n:02}", seen="stuck") for n in range(30)]
    assert len(compared(old, worse).text()) > 30


def test_the_page_has_what_differs_and_leads_to_the_reports_that_there_are(tmp_path: Path) -> None:
    folders = [tmp_path / "a b", tmp_path / "c"]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "report.html").touch()
    cells = [a_cell("v5/1", "s[<b>]", seen) for seen in ("pass", "stuck")]
    before, after = map(a_record, folders, cells)
    text = compare_page(before, after, compare(before, after), tmp_path)
    assert "1 test worse, none better; 1 compared." in text
    assert '<a href="a%20b/report.html#cells/debian=6.1/base/v5,1/s/%3Cb%3E">pass</a>' in text
    assert "<td>stuck</td>" in text
    assert "s[&lt;b&gt;]" in text
    assert "<script" not in text
    assert "<details open>" in text


def test_many_of_a_kind_are_folded(tmp_path: Path) -> None:
    before, after = (
        a_record(tmp_path, *(a_cell(name=f"s{n}", seen=seen) for n in range(50)))
        for seen in ("pass", "stuck")
    )
    text = compare_page(before, after, compare(before, after), tmp_path)
    assert "<details>" in text
    assert text.count("<tr>") == 51


def test_provenance_that_differs_is_told() -> None:
    old = a_record(NOWHERE, a_cell())
    new = Record(
        NOWHERE,
        replace(old.run, host={"cores": 4, "accel": "tcg"}),
        replace(old.toolchain, qemu="qemu 8.2"),
        kernels=[replace(old.kernels[0], config_sha256="0f" * 32)],
        cells=[a_cell()],
    )
    found = compare(old, new)
    assert found.status == 0
    assert found.provenance == (
        "  host cores: 2 -> 4",
        "  toolchain qemu: qemu 7.2.9 -> qemu 8.2",
        f"  config of debian:6.1/base/v5/1: {'3c' * 32} -> {'0f' * 32}",
    )
    assert found.text()[0] == "nothing changed: 1 test as before"
    assert all(len(line) <= 80 for line in found.text())


def test_where_merged_runs_come_from_is_no_difference() -> None:
    """It names each run, and no two runs have a name in common."""
    runs = [a_record(NOWHERE, a_cell()) for _ in range(2)]
    for number, each in enumerate(runs):
        each.run = replace(each.run, host={"cores": 2, "merged": [{"id": f"r{number}"}]})
    assert compare(*runs).provenance == ()


def test_another_compiler_is_another_kernel_and_named() -> None:
    before = a_record(NOWHERE, a_cell("v5/1"))
    after = a_record(NOWHERE, a_cell("v5/1"), a_cell("v5/1", compiler="clang"))
    first = before.toolchain
    clang = replace(first, gcc="clang 14", compiler="clang")
    before.toolchains, after.toolchains = (first, clang), (first, replace(clang, gcc="clang 19"))
    found = compare(before, after)
    assert [(change.kind, change.name) for change in found.changes] == [
        ("new", "debian:6.1/base/clang/v5/1 step-in-order[up_read]")
    ]
    assert "  toolchain clang gcc: clang 14 -> clang 19" in found.provenance


def test_runs_with_one_compiler_each_are_compared_whichever_it_is() -> None:
    before = a_record(NOWHERE, a_cell("v5/1"), a_cell("none", seen="stuck"))
    after = a_record(
        NOWHERE,
        a_cell("v5/1", seen="stuck", compiler="clang", suite="trixie"),
        a_cell("none", seen="stuck", compiler="clang", suite="trixie"),
    )
    after.toolchains = (
        replace(before.toolchain, gcc="clang 19", compiler="clang", suite="trixie"),
    )
    found = compare(before, after)
    assert [(change.kind, change.name) for change in found.changes] == [
        ("broken", "debian:6.1/base/v5/1 step-in-order[up_read]")
    ]
    assert found.common == 2
    assert "  toolchain gcc: gcc 12.2.0 -> clang 19" in found.provenance
    assert "  toolchain compiler: gcc -> clang" in found.provenance
