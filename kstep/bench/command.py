# SPDX-License-Identifier: GPL-2.0-only
"""How long a command takes to start in an environment that is ready."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROUNDS = 5


def listing_over_import(root: Path) -> float:
    """Compare ``./inv --list`` with an interpreter that only imports invoke; the best of each."""
    seconds: dict[str, list[float]] = {"list": [], "import": []}
    for _ in range(ROUNDS):
        seconds["list"].append(_seconds([str(root / "inv"), "--list"], root))
        seconds["import"].append(_seconds([sys.executable, "-c", "import invoke"], root))
    return min(seconds["list"]) / min(seconds["import"])


def _seconds(argv: Sequence[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(argv, cwd=folder, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return time.perf_counter() - began
