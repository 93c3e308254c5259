# SPDX-License-Identifier: GPL-2.0-only
"""Which module may know of which: the contract of pyproject.toml, and what imports do not show."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What each contract is there to see: a module that breaks it.
SLIPS = {
    "a package imports only from those before it": ("base/up.py", "import kstep.run"),
    "modules import each other in no circle": ("base/round.py", "import kstep.base.circle"),
    "a report is drawn from results.json alone": ("report/live.py", "import kstep.machine"),
    "sessions and judges know a machine": ("session/own.py", "import kstep.machine.qemu"),
    "one kind of machine knows nothing of another": (
        "machine/board.py",
        "import kstep.machine.qemu",
    ),
    "kstep knows nothing of CI": ("run/script.py", "import tests.sessions.functions"),
}
BESIDE = {"base/circle.py": "import kstep.base.round", "later/__init__.py": ""}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Hold the packages of a folder against its contract."""
    script = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [sys.executable, script, "--no-cache", "--no-logo"],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},  # no colours, and no width
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def slipped(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Break every contract at once; give what is said of it."""
    folder = tmp_path_factory.mktemp("slipped")
    for package in ("kstep", "ci"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    for name, line in (*SLIPS.values(), *BESIDE.items()):
        path = folder / "kstep" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(line)
    done = lint(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("contract", SLIPS)
def test_a_slip_is_seen(slipped: str, contract: str) -> None:
    [said] = [
        line for line in slipped.splitlines() if line.startswith(contract) and "BROKEN" in line
    ]
    assert said


def test_a_package_must_have_its_place(slipped: str) -> None:
    assert "kstep.later" in slipped


def sessions() -> set[str]:
    """Return the names of the sessions: of what @session stands above."""
    return {
        node.name.replace("_", "-")
        for path in (ROOT / "tests/sessions").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.decorator_list
        if isinstance(call := node.decorator_list[-1], ast.Call)
        if isinstance(call.func, ast.Name) and call.func.id == "session"
    }


NAMES = sessions()


def literals(path: Path) -> set[str]:
    """Return the strings of a module, its docstrings apart."""
    tree = ast.parse(path.read_text())
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    }


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "kstep").rglob("*.py")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_no_engine_module_names_a_session(path: Path) -> None:
    """What a session needs stands in its decorator."""
    assert literals(path) & NAMES == set()


def test_what_names_a_session_is_seen(tmp_path: Path) -> None:
    assert {"kgdbts", "step-smp"} <= NAMES
    path = tmp_path / "module.py"
    path.write_text('"""kgdbts"""\nNEEDS = {"step-smp": "two processors"}\n')
    assert literals(path) & NAMES == {"step-smp"}
