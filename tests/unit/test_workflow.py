# SPDX-License-Identifier: GPL-2.0-only
"""The workflow is one that GitHub takes, and runs what the README says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SCHEMA = "vendor.github-workflows"  # the copy that check-jsonschema ships
WORKFLOW = Path(__file__).parents[2] / ".github/workflows/verify.yml"


def check(path: Path) -> subprocess.CompletedProcess[str]:
    """Hold a workflow against GitHub's schema, without network."""
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMA, path],
        capture_output=True,
        text=True,
        check=False,
    )


def test_fits_the_schema() -> None:
    """GitHub would say so only after a push."""
    result = check(WORKFLOW)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("runs-on: ubuntu-latest", "run-on: ubuntu-latest"),
        ("contents: read", "contents: reads"),
        ("  workflow_dispatch:\n", "  workflow_dispatched:\n"),
        ("timeout-minutes: 330", "timeout-minutes: long"),
    ],
)
def test_the_schema_sees_a_slip(right: str, wrong: str, tmp_path: Path) -> None:
    """A check that lets these pass would be worth nothing."""
    text = WORKFLOW.read_text()
    assert right in text
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace(right, wrong))
    assert check(broken).returncode == 1


@pytest.mark.parametrize("command", ["./inv test", "./inv verify --toolchain docker"])
def test_runs_the_commands_of_the_readme(command: str) -> None:
    """Each is the beginning of one step's command, so that CI does as a user does."""
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["verify"]["steps"]
    assert [step for step in steps if f"{step.get('run', '')} ".startswith(f"{command} ")]
