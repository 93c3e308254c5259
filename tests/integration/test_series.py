# SPDX-License-Identifier: GPL-2.0-only
"""A series without expectations, from a saved mail thread: what a new user is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import junitparser
import pytest

from tests.integration.command import ROOT, Run, git, patch, verify

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel

ENTRY, STEP = "arch/arm64/kernel/entry-common.c", "arch/arm64/kernel/debug-monitors.c"
FIXES = ROOT / "patches/v6/0001-arm64-entry-put-a-step-aside-while-an-interrupt-is-handled.patch"
BREAKS = ROOT / "tests/mutants/user-step-not-rewound.patch"
ANSWER = """\
From git@z Thu Jan  1 00:00:00 1970
From: Rita Reader <rita@example.org>
Subject: Re: [PATCH v2 0/3] kernel: step
Date: Mon, 2 Jan 2023 10:00:00 +0000
Message-ID: <answer@example.org>

> +	this is quoted
How about this instead?

--- a/Makefile
+++ b/Makefile
@@ -1 +1 @@
-a
+b

"""


@pytest.fixture(scope="module")
def mbox(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """Make a thread of three: 1 fixes a fault, 2 depends on 1 and does nothing, 3 breaks."""
    work = tmp_path_factory.mktemp("thread")
    git(work, "init", "--quiet")
    for name in (ENTRY, STEP):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes((source / name).read_bytes())
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=base")
    for change in ("mends", "does nothing", "breaks"):
        if change == "does nothing":
            diff = patch(work, ENTRY, "is still owed.", "is owed, still.")
        else:
            diff = (FIXES if change == "mends" else BREAKS).read_text()
        git(work, "apply", "-", given=diff)
        git(work, "commit", "--quiet", "--all", f"--message=kernel: one that {change}")
    form = ("--thread", "--cover-letter", "--reroll-count=2", "--base=HEAD~3", "--stdout")
    cover, first, *rest = git(work, "format-patch", *form, "-3").split("\nFrom ")
    path = work / "thread.mbox"
    path.write_text("\nFrom ".join([ANSWER + cover, *rest, first]) + "\n")
    return path


SESSIONS = "--sessions=continue-past-breakpoint,ptrace-step[alone],ptrace-step[watched]"


@pytest.fixture(scope="module")
def run(mbox: Path) -> Run:
    """Verify the thread as a new user would."""
    return verify(mbox.parent, f"--series={mbox}", SESSIONS)


def test_the_patches_are_those_of_the_thread_in_order(run: Run) -> None:
    (kernel,) = [each for each in run.results["kernels"] if each["variant"] == "thread/1+2+3"]
    assert [each["action"] for each in kernel["patches"]] == ["applied"] * 3


def test_a_patch_that_needs_another_is_left_out_of_the_matrix(run: Run) -> None:
    assert {each["variant"] for each in run.results["kernels"]} == {
        "none",
        "thread/1",
        "thread/3",
        "thread/1+2+3",
    }
    (left_out,) = run.results["left_out"]
    assert left_out["variant"] == "thread/2"
    assert f"patch thread/2 does not apply in thread/2: at {ENTRY}:" in left_out["why"]
    assert "skipped: debian:6.1 thread/2: " in " ".join(run.said.split())
    assert "skipped: debian:6.1 thread/2: " in (run.folder / "summary.md").read_text()


def test_what_none_does_is_the_measure(run: Run) -> None:
    """The series is not blamed for a fault that the tree already has."""
    for variant in ("none", "thread/3"):
        cells = run.cells(variant, "continue-past-breakpoint")
        assert {(cell["signature"], cell["matched"]) for cell in cells} == {("rehit", True)}
    for variant in ("thread/3", "thread/1+2+3"):
        alone, watched = run.cells(variant, "ptrace-step")
        for cell in (alone, watched):
            assert (cell["outcome"], cell["matched"]) == ("fail", False)
            assert (cell["expected"], cell["held_against"]) == (None, "none")
    assert {cell["matched"] for cell in run.cells("thread/1")} == {True}
    assert run.status == 1


def test_the_verdict_is_readable(run: Run) -> None:
    said = " ".join(run.said.split())
    fixes = "fixes 6 of 6 failing tests: resuming (go) 6 of 6"
    broken = "user space 2 of 2: ptrace-step[alone], ptrace-step[watched]"
    assert (
        f"thread/1 {fixes} breaks none of 2 passing tests"
        " 2 of 8 tests unchanged from the unpatched kernel"
    ) in said
    assert (
        f"thread/3 fixes none of 6 failing tests breaks 2 of 2 passing tests: {broken}"
        " 6 of 8 tests unchanged from the unpatched kernel; 6 of these fail on both"
    ) in said
    assert f"thread/1+2+3 {fixes} breaks 2 of 2 passing tests: {broken}" in said
    assert "No expectations for thread; compared with the unpatched kernel: 4 regressions." in said


def test_ci_is_told_the_same(run: Run) -> None:
    suites = {
        suite.name.rpartition("base/")[2]: (suite.tests, suite.skipped, suite.failures)
        for suite in junitparser.JUnitXml.fromfile(str(run.folder / "junit.xml"))
    }
    assert suites == {
        "none": (8, 6, 0),
        "thread/1": (8, 0, 0),
        "thread/3": (8, 6, 2),
        "thread/1+2+3": (8, 0, 2),
    }


def test_a_series_that_only_mends_is_status_0(mbox: Path, run: Run, tmp_path: Path) -> None:
    assert run.results["kernels"], "they are built"
    good = verify(tmp_path, f"--series={mbox}", "--variants=none,thread/1", SESSIONS)
    assert good.status == 0, good.said
