# SPDX-License-Identifier: GPL-2.0-only
"""What unit tests share: the command as a user runs it, with nothing to be installed first."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def a_checkout(folder: Path) -> Path:
    """Make a folder that is kstep's but for its .venv, and for the script ``inv``, a copy."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in ROOT.iterdir():
        if path.name not in {"inv", "requirements.lock", "runs"} and path.name[0] != ".":
            (folder / path.name).symlink_to(path)
    for name in ("inv", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def program(path: Path, text: str) -> Path:
    """Write a shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="session")
def inv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return ``./inv`` of a checkout whose .venv is the Python that runs the tests.

    That of the checkout itself would make its .venv first where the tests are run by another.
    """
    folder = a_checkout(tmp_path_factory.mktemp("checkout"))
    program(folder / ".venv/bin/python", f'exec {shlex.quote(sys.executable)} "$@"')
    lock = (folder / "requirements.lock").read_bytes()
    (folder / ".venv/lock.sha256").write_text(f"{hashlib.sha256(lock).hexdigest()}\n")
    return folder / "inv"
