# SPDX-License-Identifier: GPL-2.0-only
"""All the files of a run, drawn and drawn again; and runs that are old or damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

import tasks
from kstep import report
from kstep.results import record
from tests.unit.report.material import a_run
from tests.unit.results.material import a_cell, a_record

ROOT = Path(__file__).parents[3]
DRAWN = ["junit.xml", "kcidb.json", "reply.txt", "report.html", "results.ktap", "summary.md"]


def test_every_file_is_drawn_and_nothing_else_is_left(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.write()
    before = {path.name for path in tmp_path.iterdir()}
    report.write(run)
    assert sorted({path.name for path in tmp_path.iterdir()} - before) == DRAWN
    assert sorted(report.FILES) == DRAWN


def test_drawn_again_they_are_the_same(tmp_path: Path) -> None:
    a_run(tmp_path).write()
    report.write(record.load(tmp_path))
    first = {name: (tmp_path / name).read_bytes() for name in DRAWN}
    report.write(record.load(tmp_path))
    assert {name: (tmp_path / name).read_bytes() for name in DRAWN} == first


def test_a_run_without_its_cells_files_can_be_drawn(tmp_path: Path) -> None:
    whole, bare = tmp_path / "whole", tmp_path / "bare"
    whole.mkdir()
    bare.mkdir()
    a_run(whole).write()
    shutil.copy(whole / "results.json", bare)
    report.write(record.load(bare))
    assert sorted(path.name for path in bare.iterdir()) == sorted([*DRAWN, "results.json"])


PACKAGES = [
    f"kstep.{name}" for name in ("toolchain", "source", "console", "build", "machine", "run")
]
ENGINE = ("qemu", "docker", "unicorn", "capstone", "serial", "pygdbmi", "ptyprocess", "b4")


def loaded_by(code: str) -> set[str]:
    """Return the packages that a fresh interpreter has loaded, ours as kstep.NAME."""
    look = (
        f"import sys\n{code}\n"
        "ours = {'.'.join(name.split('.')[:2]) for name in sys.modules if name[:6] == 'kstep.'}\n"
        "print(*ours, *{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_drawing_needs_no_engine() -> None:
    """Nor what it talks to machines, debuggers and containers with."""
    loaded = loaded_by("import kstep.report")
    assert "jinja2" in loaded
    assert not {*ENGINE} & loaded
    assert not {*PACKAGES} & loaded


def test_the_command_that_draws_loads_no_more(tmp_path: Path) -> None:
    a_record(tmp_path, a_cell()).write()
    loaded = loaded_by(f"import tasks\ntasks.report.body(None, {str(tmp_path)!r})")
    assert (tmp_path / "report.html").exists()
    assert not {*ENGINE, *PACKAGES} & loaded


def test_the_last_line_names_what_to_look_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the run, or in runs/latest if that is it; the address is one of the page's own."""
    run = tmp_path / "runs/r1"
    run.mkdir(parents=True)
    a_record(run, a_cell("none"), a_cell("v5/1", "s[a]", "stuck")).write()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks, "RUNS", tmp_path / "runs")
    for shown in ("runs/r1", "runs/latest"):
        if shown == "runs/latest":
            (tmp_path / shown).symlink_to("r1")
        tasks.report(Context(), "runs/r1")
        address = f"{shown}/report.html#cells/debian=6.1/base/v5,1/s/a"
        assert capsys.readouterr().out.splitlines()[-1] == (
            f"look first at {address}: s[a] with v5/1: expected pass, was stuck"
        )
    page, _, fragment = address.partition("#")
    assert f'id="{fragment}"' in (tmp_path / page).read_text()

    a_record(run, a_cell()).write()
    tasks.report(Context(), "runs/r1")
    assert "look first" not in capsys.readouterr().out


def test_two_runs_can_be_compared_in_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seen in (("a", "pass"), ("b", "stuck")):
        (tmp_path / name).mkdir()
        a_record(tmp_path / name, a_cell(seen=seen)).write()
    out = tmp_path / "compare.html"
    with pytest.raises(Exit) as ended:
        tasks.compare(Context(), str(tmp_path / "a"), str(tmp_path / "b"), out=str(out))
    assert ended.value.code == 1
    assert "passed, and fails now: 1" in capsys.readouterr().out
    assert "passed, and fails now: 1" in out.read_text()
    with pytest.raises(Exit) as ended:
        tasks.compare(Context(), str(tmp_path / "a"), str(tmp_path / "b"), out="/nowhere/x.html")
    assert ended.value.code == 2
    assert "--out /nowhere/x.html: " in str(ended.value.message)


def test_the_list_of_commands_loads_none_of_what_they_do() -> None:
    own = {name for name in loaded_by("import tasks") if name.startswith("kstep.")}
    assert own == {"kstep.base"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 7}'])
def test_a_broken_run_is_one_line_and_status_2(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    for command in (tasks.report, lambda c, run: tasks.compare(c, run, run)):
        with pytest.raises(Exit) as ended:
            command(Context(), str(tmp_path))
        assert ended.value.code == 2
        assert str(ended.value.message).startswith(f"kstep: {tmp_path}/results.json:")
        assert "\n" not in str(ended.value.message)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_every_report_names_the_tools_that_are_not_usual(tmp_path: Path) -> None:
    """A variant is compared with the unpatched kernel of its own compiler and suite."""
    run = a_record(
        tmp_path,
        a_cell("none", seen="stuck", wanted="stuck"),
        a_cell("v5/1", seen="stuck", wanted="stuck"),
        a_cell("none", seen="stuck", wanted="stuck", compiler="clang", suite="trixie"),
        a_cell("v5/1", compiler="clang", suite="trixie"),
    )
    first = run.toolchain
    run.toolchains = (first, replace(first, gcc="clang 19", compiler="clang", suite="trixie"))
    run.write()
    report.write(run)
    said = {name: (tmp_path / name).read_text() for name in report.FILES}
    for name in ("report.html", "summary.md", "reply.txt", "kcidb.json"):
        assert "clang 19" in said[name], name
    assert "debian:6.1/base/clang/trixie/v5/1" in said["results.ktap"]
    assert 'classname="kstep.debian:6.1.base.clang.trixie.v5/1"' in said["junit.xml"]
    assert "debian:6.1, kconfig base, clang, trixie" in said["report.html"]
    assert record.load(tmp_path).toolchains == run.toolchains
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["verdict"] == {
        "debian:6.1/base/v5/1": {
            "fixed": [],
            "regressed": [],
            "unchanged": ["step-in-order[up_read]"],
        },
        "debian:6.1/base/clang/trixie/v5/1": {
            "fixed": ["step-in-order[up_read]"],
            "regressed": [],
            "unchanged": [],
        },
    }
