# SPDX-License-Identifier: GPL-2.0-only
"""System.map: the address of a symbol of any kind. Functions alone are ``image.symbols``'."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def find(path: Path, name: str) -> int | None:
    """Return the address of a symbol; None if the kernel does not have it."""
    line = re.search(
        rf"^([0-9a-f]{{16}}) \w {re.escape(name)}$", path.read_text("latin-1"), re.MULTILINE
    )
    return None if line is None else int(line[1], 16)
