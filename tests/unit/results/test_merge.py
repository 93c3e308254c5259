# SPDX-License-Identifier: GPL-2.0-only
"""Runs put together, and runs that must not be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kstep import report
from kstep.base.errors import RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.report.command import narrowed, whole
from kstep.results.cell import Try
from kstep.results.merge import merge, requests
from kstep.results.record import Record, load
from tests.unit.report.material import WALKED, stepped, steps_of
from tests.unit.results.material import ASKED, a_cell, a_record

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.results.cell import CellRecord
    from kstep.results.request import Asked


def made(
    folder: Path,
    *cells: CellRecord,
    asked: Asked | None = None,
    argv: tuple[str, ...] = ("verify",),
) -> Record:
    """Write a run and read it again."""
    folder.mkdir(exist_ok=True)
    record = a_record(folder, *cells)
    Record(
        folder,
        replace(record.run, id=folder.name, seconds=5.0, argv=argv),
        record.toolchain,
        request=asked,
        trees=record.trees,
        sessions=record.sessions.values(),
        cells=cells,
    ).write()
    return load(folder)


def test_the_cells_of_all_with_their_files(tmp_path: Path) -> None:
    (tmp_path / "a/cells").mkdir(parents=True)
    cell = stepped(tmp_path / "a/cells", "x", steps_of(WALKED))
    files = {name: f"cells/{path}" for name, path in cell.files.items()}
    one = made(tmp_path / "a", replace(cell, files={**files, "session": "tests/sessions/s.py"}))
    other = made(tmp_path / "b", a_cell("v5/1"))
    merged = merge([one, other], tmp_path / "all")
    report.write(merged)
    again = load(tmp_path / "all")
    assert [each.cell for each in again.cells] == [one.cells[0].cell, other.cells[0].cell]
    assert again.tail(again.cells[0]) == one.tail(one.cells[0]) != []
    assert again.cells[0].files["session"] == "tests/sessions/s.py"
    assert again.run.seconds >= 10
    assert again.run.host["cores"] == 2
    page = (tmp_path / "all/report.html").read_text()
    assert 'data-path="0"' in page
    assert f"<dt>merged from</dt><dd>b, {other.run.started}</dd>" in page


def test_a_run_that_was_killed_is_merged_with_all_that_it_had(tmp_path: Path) -> None:
    """Its journal is ahead of its results.json; earlier tries keep their files."""
    made(tmp_path / "a", a_cell("none"))
    first = Try(Outcome.ERROR, Signature.MACHINE_DIED, "", 1.0, 0.0, {"trace": "cells/x/earlier"})
    load(tmp_path / "a").add(a_cell("v5/2", earlier=(first,)))
    (tmp_path / "a/results.json").unlink()
    made(tmp_path / "a", a_cell("none"))
    merged = merge([load(tmp_path / "a"), made(tmp_path / "b", a_cell("v5/1"))], tmp_path / "all")
    assert [each.cell.variant for each in merged.cells] == ["none", "v5/2", "v5/1"]
    ((earlier,),) = [each.earlier for each in load(tmp_path / "all").cells if each.earlier]
    assert earlier.files == {"trace": "1/cells/x/earlier"}


def test_each_cell_is_repeated_by_the_command_that_made_it(tmp_path: Path) -> None:
    """Also where runs are put together that were put together before."""
    shares = [
        ("docker", "debian:6.1", "perf"),
        ("host", "debian:7.2", "perf"),
        ("late", "debian:6.1", "kgdbts"),
    ]
    runs = [
        made(
            tmp_path / name,
            a_cell(name=session, tree=tree),
            asked=replace(ASKED, trees=(tree,), sessions=(session,), series=(name,)),
            argv=("verify", "--series", name),
        )
        for name, tree, session in shares
    ]
    merge(runs[:2], tmp_path / "two")
    merged = merge([load(tmp_path / "two"), runs[2]], tmp_path / "all")
    for record in (merged, load(tmp_path / "all")):
        assert record.request is None
        assert whole(record) == "./inv merge two,late"
        for run, (name, tree, session) in zip(runs, shares, strict=True):
            assert narrowed(record, run.cells[0].cell) == (
                f"./inv verify --series {name} --tree {tree} --kconfig base --variants none"
                f" --sessions {session}"
            )


def test_one_request_stays_one(tmp_path: Path) -> None:
    runs = [made(tmp_path / name, a_cell(name), asked=ASKED) for name in ("a", "b")]
    merged = merge(runs, tmp_path / "all")
    assert merged.request == load(tmp_path / "all").request == ASKED


def test_runs_of_before_requests_were_kept_are_merged(tmp_path: Path) -> None:
    runs = [made(tmp_path / name, a_cell(name)) for name in ("a", "b")]
    merged = merge(runs, tmp_path / "all")
    assert requests(load(tmp_path / "all")) == []
    assert merged.run.argv == ("verify",)
    assert narrowed(merged, runs[0].cells[0].cell) == "./inv verify"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"step-in-order\[up_read\] #1 is in .*/a too; merge runs without common cells"),
        ({"gcc": "gcc 14"}, r"made with gcc gcc 14, .*/a with gcc 12.2.0; use ./inv compare"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    one = made(tmp_path / "a", a_cell())
    other = made(tmp_path / "b", a_cell("none" if not change else "v5/1"))
    other.toolchains = (replace(other.toolchain, **change),)
    with pytest.raises(RequestError, match=message):
        merge([one, other], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_another_kstep_or_a_folder_that_is_there_is_refused(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a", a_cell()), made(tmp_path / "b", a_cell("v5/1"))
    other.run = replace(other.run, kstep_version="0.0.1")
    with pytest.raises(RequestError, match="made by another version of kstep"):
        merge([one, other], tmp_path / "all")
    with pytest.raises(RequestError, match="already exists; name a new folder"):
        merge([one], tmp_path / "b")


def test_images_that_differ_are_named_under_merged(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a", a_cell()), made(tmp_path / "b", a_cell("v5/1"))
    other.toolchains = (replace(other.toolchain, image_digest="sha256:d2"),)
    merged = merge([one, other], tmp_path / "all")
    assert merged.toolchain.image_digest is None
    origins = load(tmp_path / "all").run.host["merged"]
    assert isinstance(origins, list)
    assert [origin["image_digest"] for origin in origins] == ["sha256:d1", "sha256:d2"]


def test_runs_of_several_compilers_are_merged_with_the_tools_of_each(tmp_path: Path) -> None:
    one = made(tmp_path / "a", a_cell())
    other = made(tmp_path / "b", a_cell(compiler="clang"))
    other.toolchains = (replace(other.toolchain, gcc="clang 14", compiler="clang"),)
    merged = merge([one, other], tmp_path / "all")
    again = load(tmp_path / "all")
    assert again.toolchains == merged.toolchains
    assert [each.gcc for each in again.toolchains] == ["gcc 12.2.0", "clang 14"]
    assert [again.toolchain_of(each.cell.setup).gcc for each in again.cells] == [
        "gcc 12.2.0",
        "clang 14",
    ]
    other.toolchains = (replace(other.toolchain, qemu="qemu 10"),)
    with pytest.raises(RequestError, match="made with qemu qemu 10"):
        merge([one, other], tmp_path / "more")
