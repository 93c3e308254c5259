# SPDX-License-Identifier: GPL-2.0-only
"""``trace.jsonl`` of a cell, one line per step, and ``lines.json`` of a kernel: source lines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Taken:
    """One step: from ``pc``, symbol ``at``, to ``to``, symbol ``to_at``.

    ``number`` counts from 1 along a path; a cell may have several paths. ``executed`` says in
    words what the emulator saw, if that was recorded.
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
    executed: str = ""

    @classmethod
    def from_json(cls, item: dict[str, Any]) -> Self:
        """Read one line; raises KeyError, TypeError or ValueError if it is not one."""
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
            executed=_in_words(item.get("executed")),
        )


def _in_words(events: Sequence[Mapping[str, Any]] | None) -> str:
    """Say how many instructions a step and its handlers executed; "" if that is unknown."""
    if events is None:
        return ""
    own = sum("pc" in event for event in events)
    handlers = [event["instructions"] for event in events if event.get("instructions") is not None]
    said = f"executed {own} of its own"
    if handlers:
        exceptions = "1 exception" if len(handlers) == 1 else f"{len(handlers)} exceptions"
        said += f", {sum(map(int, handlers))} in {exceptions} before"
    return said


def line(
    *,
    number: int,
    pc: int,
    at: str,
    word: int,
    flow: str,
    expected: Iterable[int],
    to: int,
    to_at: str,
    reason: str,
    pid: int,
    cpu: int,
    in_order: bool,
    seconds: float,
    executed: Sequence[Mapping[str, object]] | None = None,
) -> str:
    """Return the line of one step, which took ``seconds``, in task ``pid`` on ``cpu``.

    ``executed`` is what the emulator saw, if that was recorded: instructions by ``pc``,
    exceptions by ``vector``, with the number of ``instructions`` until they returned (null if they
    did not), and whether it was an ``abort``.
    """
    step = {
        "n": number,
        "pc": f"{pc:#x}",
        "at": at,
        "word": f"{word:08x}",
        "flow": flow,
        "expected": [f"{address:#x}" for address in sorted(expected)],
        "to": f"{to:#x}",
        "to_at": to_at,
        "reason": reason,
        "pid": pid,
        "cpu": cpu,
        "in_order": in_order,
        "seconds": round(seconds, 6),
    }
    if executed is not None:
        step["executed"] = executed
    return json.dumps(step) + "\n"


def read(path: Path | None) -> list[Taken]:
    """Read a trace, up to the first broken line; nothing if there is no file.

    A run that was killed may end in the middle of a line.
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


def addresses(path: Path) -> set[int]:
    """Return every address that a trace written by this kstep stepped from."""
    with path.open(encoding="utf-8") as steps:
        return {int(json.loads(step)["pc"], 16) for step in steps}


def write_lines(path: Path, lines: Mapping[int, str]) -> None:
    """Write the source lines of a kernel's addresses, ``file:line`` by address."""
    path.write_text(json.dumps({f"{at:#x}": line for at, line in lines.items()}, indent=0))


def read_lines(path: Path | None) -> dict[int, str]:
    """Read the source lines of a kernel's addresses; empty if there is no file."""
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
        return {int(address, 16): str(line) for address, line in found.items()}
    except (OSError, AttributeError, ValueError, RecursionError):
        return {}
