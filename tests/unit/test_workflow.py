# SPDX-License-Identifier: GPL-2.0-only
"""The workflow and the action are what GitHub takes, and run what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github/workflows/verify.yml"
ACTION = ROOT / "action.yml"
SCHEMAS = {WORKFLOW: "vendor.github-workflows", ACTION: "vendor.github-actions"}


def check(path: Path, schema: str) -> subprocess.CompletedProcess[str]:
    """Hold a file against GitHub's schema, in the copy that check-jsonschema ships."""
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", SCHEMAS)
def test_fits_the_schema(path: Path) -> None:
    """GitHub would say so only after a push."""
    result = check(path, SCHEMAS[path])
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("path", "right", "wrong"),
    [
        (WORKFLOW, "runs-on: ubuntu-latest", "run-on: ubuntu-latest"),
        (WORKFLOW, "contents: read", "contents: reads"),
        (WORKFLOW, "  workflow_dispatch:\n", "  workflow_dispatched:\n"),
        (WORKFLOW, "timeout-minutes: 330", "timeout-minutes: long"),
        (ACTION, "using: composite", "using: composed"),
        (
            ACTION,
            "      shell: bash\n      env:\n        KSTEP_CACHE",
            "      env:\n        KSTEP_CACHE",
        ),
    ],
)
def test_the_schema_sees_a_slip(path: Path, right: str, wrong: str, tmp_path: Path) -> None:
    """A check that lets these pass would be worth nothing."""
    text = path.read_text()
    assert right in text
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace(right, wrong))
    assert check(broken, SCHEMAS[path]).returncode == 1


def steps() -> list[dict[str, Any]]:
    """List the steps of all jobs of the workflow."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("command", ["./inv test", "./inv verify --toolchain docker"])
def test_runs_the_commands_of_the_readme(command: str) -> None:
    """Each is the beginning of one step's command, so that CI does as a user does."""
    assert [step for step in steps() if f"{step.get('run', '')} ".startswith(f"{command} ")]


def test_what_a_stranger_gives_is_no_script() -> None:
    """Only what the workflow itself decides may stand in a script; the rest is environment."""
    action = yaml.safe_load(ACTION.read_text())["runs"]["steps"]
    for step in [*steps(), *action]:
        for expression in re.findall(r"\$\{\{(.*?)\}\}", step.get("run", "")):
            assert "github.event_name ==" in expression


def test_the_action_passes_every_input_on() -> None:
    action = yaml.safe_load(ACTION.read_text())
    used = set(re.findall(r"inputs\.([a-z]+)", str(action["runs"])))
    assert used == set(action["inputs"])
