# SPDX-License-Identifier: GPL-2.0-only
"""What is around a command makes no difference: terminal, language, git's hooks, make's flags.

ci/environment sets what people set. By night every test runs so; here a few commands do, and
those tests that ask another program the most.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.results.material import a_cell, a_record

ROOT = Path(__file__).parents[2]
KINDS = ("rich", "empty")
DRAWN = {".html", ".xml", ".md", ".txt", ".ktap"}
# What starts other programs, or is shown on a terminal.
ASKING = (
    "tests/unit/base/test_progress.py",
    "tests/unit/source/test_git.py",
    "tests/unit/source/test_thread.py",
    "tests/unit/toolchain",
)


def run(kind: str, *command: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run a command as somebody else would; or ``as-is``, as whoever runs the tests."""
    within: list[str | Path] = [] if kind == "as-is" else [ROOT / "ci/environment", kind]
    return subprocess.run([*within, *command], cwd=ROOT, capture_output=True, check=False)


def test_a_command_says_the_same(inv: Path) -> None:
    command = ("verify", "--plan", "--variants=none")
    said = [run(kind, inv, *command) for kind in ("as-is", *KINDS)]
    usual, *others = ((done.returncode, done.stdout, done.stderr) for done in said)
    assert usual[0] == 0
    assert others == [usual, usual]


def test_reports_are_the_same(inv: Path, tmp_path: Path) -> None:
    """To the byte, with what is no ASCII; and others may read them, as where they are served."""
    record = a_record(tmp_path, a_cell(message="größer → \N{GRINNING FACE}"), a_cell("v6/1"))
    record.write()
    found = {}
    for kind in ("as-is", *KINDS):
        folder = tmp_path / kind
        folder.mkdir()
        shutil.copy(tmp_path / "results.json", folder)
        done = run(kind, inv, "report", folder)
        assert done.returncode == 0, done.stderr
        drawn = [path for path in folder.iterdir() if path.suffix in DRAWN]
        assert all(path.stat().st_mode & 0o777 == 0o644 for path in drawn)
        found[kind] = {path.name: path.read_bytes() for path in drawn}
    usual, *others = found.values()
    assert {"report.html", "junit.xml", "summary.md"} <= usual.keys()
    assert others == [usual, usual]


def test_what_asks_other_programs_is_tested_there(inv: Path) -> None:
    done = run("rich", inv, "test", "--only", ",".join(ASKING))
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-4000:]


@pytest.mark.parametrize("arguments", [[], ["rich"], ["poor", "true"]])
def test_another_kind_is_refused(arguments: list[str]) -> None:
    done = run("as-is", ROOT / "ci/environment", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")


def test_it_passes_on_how_a_command_ended_and_leaves_nothing(tmp_path: Path) -> None:
    script = 'printf %s "$TMPDIR"; umask; exit 7'
    done = subprocess.run(
        [ROOT / "ci/environment", "rich", "sh", "-c", script],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    assert done.stdout.startswith(f"{tmp_path}/a rich environment.")
    assert done.stdout.endswith("0077\n")
    assert list(tmp_path.iterdir()) == []
