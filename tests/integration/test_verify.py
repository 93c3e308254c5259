# SPDX-License-Identifier: GPL-2.0-only
"""The main job on real kernels, as a user runs it, and every way in which it can end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import time
import uuid
from typing import TYPE_CHECKING

import jsonschema
import junitparser
import pytest
from ptyprocess import PtyProcess

from kstep import report as reports
from kstep.base.cache import Cache
from kstep.base.errors import MachineryError
from kstep.build import kernel
from kstep.report.command import narrowed
from kstep.results import record
from kstep.source import series
from kstep.source import variant as matrix
from kstep.source.patched import Unpatched
from tests.integration.command import PATIENCE, ROOT, Run, Verify, patch, verify

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.run.preparation import Prepared

pytestmark = pytest.mark.kernel

CASES = 6  # functions of each session
QUICK = "--sessions=continue-past-breakpoint"


# -- a successful run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Verify four variants, two of which are the same kernel."""
    return verify(
        tmp_path_factory.mktemp("verify"),
        "--variants=none,v5/2,v6/2,v6/1+2",
        "--sessions=step-in-order,kdb-lockdown",
    )


def test_a_session_is_not_run_on_a_kernel_without_what_it_needs(run: Run) -> None:
    why = (
        "kdb-lockdown is not run with kconfig base: it needs CONFIG_SECURITY_LOCKDOWN_LSM;"
        " --kconfig lockdown has it"
    )
    variants = ["none", "v5/2", "v6/2", "v6/1+2"]
    assert run.results["left_out"] == [
        {"tree": "debian:6.1", "variant": variant, "why": why} for variant in variants
    ]
    assert f"skipped: {why}" in " ".join(run.said.split())
    assert {cell["session"] for cell in run.results["cells"]} == {"step-in-order"}


def test_all_is_as_predicted(run: Run) -> None:
    assert run.status == 0, run.said
    assert {cell["matched"] for cell in run.results["cells"]} == {True}
    assert {(cell["outcome"], cell["signature"]) for cell in run.cells("none")} == {
        ("fail", "stuck")
    }
    assert {cell["outcome"] for cell in run.cells("v6/1+2")} == {"pass"}
    assert "v6/1+2 fixes 6 of 6 failing tests: steps 6 of 6" in " ".join(run.said.split())


def test_the_results_fit_the_schema(run: Run) -> None:
    schema = json.loads((ROOT / "kstep/results/results.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(run.results)
    assert len(run.results["cells"]) == 4 * CASES
    assert sorted(each["variant"] for each in run.results["kernels"]) == [
        "none",
        "v5/2",
        "v6/1+2",
        "v6/2",
    ]
    actions = {
        (each["variant"], patch["id"]): patch["action"]
        for each in run.results["kernels"]
        for patch in each["patches"]
    }
    assert actions["none", "v6/2"] == "reverted"
    assert (actions["v6/2", "v6/1"], actions["v6/2", "v6/2"]) == ("absent", "present")
    assert (actions["v6/1+2", "v6/1"], actions["v6/1+2", "v6/2"]) == ("applied", "present")


def test_the_request_is_kept_and_repeats_a_cell(run: Run) -> None:
    asked = run.results["request"]
    assert asked["variants"] == ["none", "v5/2", "v6/2", "v6/1+2"]
    assert asked["sessions"] == ["step-in-order", "kdb-lockdown"]
    assert asked["kconfigs"] == {"base": "base"}
    kept = record.load(run.folder)
    (cell,) = (
        each.cell
        for each in kept.cells
        if each.cell.name == "step-in-order[get_avenrun]" and each.cell.variant == "v6/2"
    )
    one = "--sessions 'step-in-order[get_avenrun]'"
    assert f"--variants none,v6/2 {one}" in narrowed(kept, cell)


def test_identical_kernels_run_once(run: Run) -> None:
    kernels = {each["variant"]: each for each in run.results["kernels"]}
    assert kernels["v6/2"]["same_as"] == "v5/2"
    assert kernels["v6/2"]["image_sha256"] == kernels["v5/2"]["image_sha256"]
    assert len({each["image_sha256"] for each in kernels.values()}) == 3
    for one, other in zip(run.cells("v5/2"), run.cells("v6/2"), strict=True):
        assert one["files"] == other["files"]
        assert one["seconds"] == other["seconds"]
    assert sorted(path.name for path in (run.folder / "cells/debian=6.1/base").iterdir()) == [
        "none",
        "v5,2",
        "v6,1+2",
    ]


def test_every_step_is_on_file(run: Run) -> None:
    for cell in run.cells("v6/1+2"):
        steps = [
            json.loads(line)
            for line in (run.folder / cell["files"]["trace"]).read_text().splitlines()
        ]
        assert len(steps) == cell["metrics"]["steps"] == cell["metrics"]["in_order"] > 100
        assert all(step["in_order"] for step in steps)
        assert steps[0]["at"] == cell["case"]
        console = (run.folder / cell["files"]["console_log"]).read_text()
        assert console.count('> "ss\\r"') == len(steps)
        lines = json.loads((run.folder / cell["files"]["lines"]).read_text())
        assert all(re.fullmatch(r"[\w./-]+\.[chS]:\d+", lines[step["pc"]]) for step in steps)


def test_the_junit_file_says_the_same(run: Run) -> None:
    suites = {
        suite.name: suite for suite in junitparser.JUnitXml.fromfile(str(run.folder / "junit.xml"))
    }
    assert len(suites) == 4
    broken, whole = suites["debian:6.1/base/none"], suites["debian:6.1/base/v6/1+2"]
    assert (broken.tests, broken.skipped, broken.failures, broken.errors) == (CASES, CASES, 0, 0)
    assert (whole.tests, whole.skipped, whole.failures, whole.errors) == (CASES, 0, 0, 0)
    for case in broken:
        assert case.classname == "kstep.debian:6.1.base.none"
        assert case.result[0].message.startswith("expected failure:")


def test_a_fault_that_nobody_predicted_is_status_1(tmp_path: Path) -> None:
    """The same patches, from a folder with expectations only for another session."""
    mine = tmp_path / "mine"
    shutil.copytree(ROOT / "patches/v6", mine, ignore=shutil.ignore_patterns("*.yaml"))
    (mine / "expect.yaml").write_text(
        "rules:\n  - {variants: [none], sessions: [kgdbts], outcome: pass, why: because}\n"
    )
    run = verify(tmp_path, f"--series={mine}", "--variants=none,mine/1+2", QUICK)
    assert run.status == 1, run.said
    assert {cell["matched"] for cell in run.cells("none")} == {False}
    assert {cell["matched"] for cell in run.cells("mine/1+2")} == {True}
    failed = [
        suite.failures for suite in junitparser.JUnitXml.fromfile(str(run.folder / "junit.xml"))
    ]
    assert failed == [CASES, 0]


# -- bad patches


def new_patch(folder: Path, source: Path) -> series.Series:
    """Write a patch with which no kernel has been built; it changes one object."""
    name = f"new-{uuid.uuid4().hex[:12]}"
    text = patch(
        source,
        "init/version.c",
        "const char linux_proc_banner[] =",
        f'const char kstep_token[] = "{name}";\n\nconst char linux_proc_banner[] =',
    )
    path = folder / f"{name}.patch"
    path.write_text(text)
    return series.load(str(path), ROOT)


def kernel_folder(prepared: Prepared, new: series.Series) -> Path:
    """Return the cache's folder for the kernel with the only patch of a series."""
    tree = prepared.trees[0]
    variant = matrix.parse(f"{new.name}/1", [new])
    sources = Unpatched.of(tree.source, [new]).patched(variant)
    key = kernel.key(tree, prepared.built[0].kconfig, sources.digest, prepared.versions.compiler)
    return Cache.default().root / "kernels" / key


def test_a_patch_that_does_not_apply(tmp_path: Path, source: Path, prepared: Prepared) -> None:
    new = new_patch(tmp_path, source)
    broken = tmp_path / "broken.patch"
    text = patch(source, "kernel/panic.c", "void panic(const char *fmt, ...)\n", "void panic()\n")
    lines = text.splitlines(keepends=True)
    lines[3] = " not a line of that file\n"
    broken.write_text("".join(lines))
    run = verify(
        tmp_path,
        f"--series={new.patches[0].path},{broken}",
        f"--variants={new.name}/1,broken/1",
        QUICK,
    )
    assert run.status == 2, run.said
    (said,) = [line for line in run.said.splitlines() if line.startswith("kstep:")]
    assert f"{broken}: patch broken/1 is not in the tree and does not apply: " in said
    assert "kernel/panic.c:" in said
    assert "not a line of that file" in said
    assert run.said.rstrip().endswith(said)
    assert not run.folder.exists()
    assert not kernel_folder(prepared, new).exists()


@pytest.fixture(scope="module")
def hopeless(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Run:
    """Verify a good kernel beside three that cannot be run."""
    folder = tmp_path_factory.mktemp("hopeless")
    for name, place, text in (
        ("uncompilable", "system_state = SYSTEM_RUNNING;", "system_state = KSTEP_NEVER;"),
        ("panics", "system_state = SYSTEM_RUNNING;", 'panic("kstep: no way");'),
        ("loops", 'pr_notice("%s", linux_banner);', "for (;;) cpu_relax();"),
    ):
        (folder / f"{name}.patch").write_text(patch(source, "init/main.c", place, text))
    files = ",".join(map(str, sorted(folder.glob("*.patch"))))
    return verify(
        folder,
        f"--series=v6,{files}",
        "--variants=v6/1+2,uncompilable/1,panics/1,loops/1",
        QUICK,
    )


def test_a_kernel_that_cannot_be_run_gives_no_verdict_unless_it_says_why(hopeless: Run) -> None:
    """And does not prevent one that can."""
    assert hopeless.status == 1, hopeless.said
    assert {cell["outcome"] for cell in hopeless.cells("v6/1+2")} == {"pass"}
    for variant, outcome, signature in (
        ("uncompilable/1", "error", "infrastructure"),
        ("panics/1", "fail", "panic"),
        ("loops/1", "fail", "hang"),
    ):
        assert [(cell["outcome"], cell["signature"]) for cell in hopeless.cells(variant)] == [
            (outcome, signature)
        ] * CASES


def test_a_patch_that_does_not_compile_shows_the_compilers_lines(hopeless: Run) -> None:
    for text in (hopeless.said, hopeless.cells("uncompilable/1")[0]["message"]):
        assert "the kernel does not build" in text
        assert "init/main.c:" in text
        assert re.search(r"error: .KSTEP_NEVER. undeclared", text)


def test_a_kernel_that_panics_says_so_once(hopeless: Run) -> None:
    first, *others = hopeless.cells("panics/1")
    assert "the kernel does not boot" in first["message"]
    assert "Kernel panic - not syncing: kstep: no way" in first["message"]
    log = hopeless.folder / first["files"]["console_log"]
    assert "kernel_init" in log.read_text()
    assert first["seconds"] < 30
    assert {cell["seconds"] for cell in others} == {0}


def test_a_kernel_that_says_nothing_is_given_up_after_two_tries(hopeless: Run) -> None:
    """That is a verdict, because another kernel boots."""
    first, *others = hopeless.cells("loops/1")
    assert "the kernel does not boot" in first["message"]
    assert "it printed nothing" in first["message"]
    assert "2 tries, each on a fresh machine; none boots on the same machine" in first["message"]
    (earlier,) = first["earlier"]
    assert earlier["signature"] == "no-boot"
    for each in (first, earlier):
        assert 15 < each["seconds"] < 60
    assert {cell["seconds"] for cell in others} == {0}


# -- interrupted runs


@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)],
    ids=["ctrl-c", "term", "closed window"],
)
def test_cut_off_among_the_cells(tmp_path: Path, number: signal.Signals, *, group: bool) -> None:
    with Verify(tmp_path, "--variants=v6/1+2", "--sessions=step-then-continue") as going:
        going.until(lambda: going.finished_cells() and going.runs("qemu"), "cell and a machine")
        going.end_by(number, group=group)
        run = going.wait()
        assert run.status == 130, run.said
        assert going.left_behind() == []
    kept = record.load(run.folder).cells
    assert 0 < len(kept) < CASES
    assert len(run.results["cells"]) == len(kept)
    last = run.said.rstrip().splitlines()[-1]
    assert last.startswith(
        f"kstep: interrupted with {len(kept)} results, {CASES - len(kept)} cells"
    )
    assert last.endswith(f"to resume: ./inv verify --resume {os.path.relpath(run.folder, ROOT)}")
    assert "step-then-continue" in run.said[run.said.index("stopped after") :]
    assert set(reports.FILES) <= {path.name for path in run.folder.iterdir()}
    with Verify(tmp_path, goes_on=True) as going:
        again = going.wait()
    assert again.status == 0, again.said
    assert len(again.results["cells"]) == CASES
    assert [cell for cell in again.results["cells"] if cell in run.results["cells"]] == (
        run.results["cells"]
    )


def test_a_terminal_that_is_closed_ends_the_run_and_its_reports_are_drawn(tmp_path: Path) -> None:
    """Its output is then lost, which is not a fault."""
    folder = tmp_path / "run"
    assert _in_a_window_that_is_closed(folder, "--default-signal=HUP") == 130
    assert set(reports.FILES) <= {path.name for path in folder.iterdir()}
    assert 0 < len(record.load(folder).cells) < CASES


def test_a_terminal_that_is_closed_unnoticed_is_no_verdict(tmp_path: Path) -> None:
    """As after trap '' HUP: what it cannot write is the machine's fault, and no cell is lost."""
    folder = tmp_path / "run"
    assert _in_a_window_that_is_closed(folder, "--ignore-signal=HUP") == MachineryError.status
    assert len(record.load(folder).cells) == CASES


def _in_a_window_that_is_closed(folder: Path, signals: str) -> int:
    """Close the window when there are results, and return the exit status."""
    options = ["--variants=v6/1+2", "--sessions=step-then-continue", f"--out={folder}"]
    window = PtyProcess.spawn(
        ["env", signals, str(ROOT / "inv"), "verify", *options],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm"},
    )
    deadline = time.monotonic() + PATIENCE
    while not (folder / "cells.jsonl").exists():
        assert time.monotonic() < deadline
        select.select([window.fd], [], [], 0.1)
        with contextlib.suppress(BlockingIOError):
            window.read()
    os.close(window.fd)
    _, status = os.waitpid(window.pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize(
    ("number", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)], ids=["ctrl-c", "term"]
)
def test_cut_off_while_a_kernel_is_built(
    tmp_path: Path, source: Path, prepared: Prepared, number: signal.Signals, *, group: bool
) -> None:
    """Nothing is left of it, and the next run builds as if it had not existed."""
    new = new_patch(tmp_path, source)
    final = kernel_folder(prepared, new)
    options = (f"--series={new.patches[0].path}", f"--variants={new.name}/1", QUICK)
    with Verify(tmp_path / "1", *options) as going:
        going.until(lambda: going.runs("make"), "compiler at work")
        going.end_by(number, group=group)
        run = going.wait()
        assert run.status == 130, run.said
        assert going.left_behind() == []
    assert list(final.parent.glob(f"*{final.name}*")) == []
    again = verify(tmp_path / "2", *options)
    assert len(again.cells(f"{new.name}/1")) == CASES
    assert b"kstep_token" in (final / "System.map").read_bytes()
    shutil.rmtree(final)  # not needed again


def test_a_machine_that_is_killed_is_no_verdict(tmp_path: Path) -> None:
    """Its cell is tried once more, on another machine, which also runs the rest."""
    with Verify(
        tmp_path, "--variants=v6/1+2", "--sessions=step-then-continue", "--jobs=1"
    ) as going:
        going.until(going.finished_cells, "cell")
        going.kill("qemu")
        run = going.wait()
    assert run.status == 0, run.said
    assert "Traceback" not in run.said
    cells = run.cells("v6/1+2")
    assert [cell["outcome"] for cell in cells] == ["pass"] * CASES
    ((earlier,),) = [cell["earlier"] for cell in cells if "earlier" in cell]
    assert (earlier["outcome"], earlier["signature"]) == ("error", "machine-died")
    assert (run.folder / earlier["files"]["console_log"]).stat().st_size
