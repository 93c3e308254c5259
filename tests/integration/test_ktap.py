# SPDX-License-Identifier: GPL-2.0-only
"""results.ktap, read by the parser that the kernel ships for its own tests."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from kstep.report.ktap import ktap
from tests.unit.report.material import a_run

if TYPE_CHECKING:
    from pathlib import Path


def test_the_kernels_parser_counts_what_there_is(tmp_path: Path, source: Path) -> None:
    text = ktap(a_run(tmp_path))
    (tmp_path / "results.ktap").write_text(text)
    parser = source / "tools/testing/kunit/kunit.py"
    # ./inv hides a script's folder from Python, but this script has its modules there.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    said = subprocess.run(
        [sys.executable, parser, "parse", tmp_path / "results.ktap"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "Ran 6 tests: passed: 3, failed: 3" in said
    assert "[ERROR]" not in said
    assert "debian:6.1/base/v5/1+2" in said
