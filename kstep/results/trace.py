# SPDX-License-Identifier: GPL-2.0-only
"""The steps of a cell, read back from its trace.jsonl (kstep.path writes it)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Taken:
    """One step that was taken: from ``pc``, called ``at``, to ``to``, called ``to_at``.

    ``number`` counts from 1 along a path; a cell may have several paths.
    """

    number: int
    pc: int
    at: str
    word: int
    expected: tuple[int, ...]
    to: int
    to_at: str
    reason: str
    in_order: bool

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> Self:
        """Read one line; raises KeyError, TypeError or ValueError where it is not one."""
        return cls(
            number=int(item["n"]),
            pc=int(item["pc"], 16),
            at=str(item["at"]),
            word=int(item["word"], 16),
            expected=tuple(int(address, 16) for address in item["expected"]),
            to=int(item["to"], 16),
            to_at=str(item["to_at"]),
            reason=str(item["reason"]),
            in_order=bool(item["in_order"]),
        )


def read(path: Path | None) -> list[Taken]:
    """Read a trace; none where there is no file, and up to the first line that is broken.

    A run that was killed may end in the middle of one.
    """
    steps: list[Taken] = []
    if path is None:
        return steps
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            steps.extend(Taken.from_json(json.loads(line)) for line in lines)
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return steps
    return steps


def read_lines(path: Path | None) -> dict[int, str]:
    """Read the source lines of a kernel's addresses (kstep.lines keeps them); none, no file."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        return {int(address, 16): str(line) for address, line in found.items()}
    except (OSError, AttributeError, ValueError, RecursionError):
        return {}
