# SPDX-License-Identifier: GPL-2.0-only
"""Runs to draw: records of made-up cells, with traces that real kernels left.

``walked.jsonl`` are the first 80 steps of vfs_mkdir() with both patches in, and
``interrupted.jsonl`` those of get_avenrun() with patch 2 alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kstep.results.cell import CellRecord
    from kstep.results.record import Record

HERE = Path(__file__).parent
WALKED = HERE / "walked.jsonl"
INTERRUPTED = HERE / "interrupted.jsonl"


def steps_of(*traces: Path, repeat: int = 1) -> list[dict[str, Any]]:
    """Read traces one after another, so many times over: a cell with several paths."""
    return [
        json.loads(line)
        for _ in range(repeat)
        for trace in traces
        for line in trace.read_text().splitlines()
    ]


def long_path(count: int) -> list[dict[str, Any]]:
    """Make one path of so many steps out of the walked one, which goes round and round."""
    steps = steps_of(WALKED)
    first = steps[0]
    steps[-1] |= {"to": first["pc"], "to_at": first["at"], "expected": [first["pc"]]}
    return [{**steps[number % len(steps)], "n": number + 1} for number in range(count)]


def stepped(
    folder: Path,
    file: str,
    steps: Iterable[dict[str, Any]],
    console: str = "",
    /,
    **more: Any,  # noqa: ANN401 -- as a_cell takes it
) -> CellRecord:
    """Make a cell with the files that a run keeps of it."""
    cell = a_cell(**more)
    (folder / f"{file}.jsonl").write_text("".join(f"{json.dumps(step)}\n" for step in steps))
    (folder / f"{file}.log").write_text(console or '0.1 < "[0]kdb> "\n0.2 > "ss\\r"\n')
    files = {"trace": f"{file}.jsonl", "console_log": f"{file}.log", "lines": "lines.json"}
    (folder / "lines.json").write_text('{"0xffff800008130134": "fs/namei.c:4143"}')
    return type(cell)(**{**cell.__dict__, "files": files})


def a_run(folder: Path) -> Record:
    """Make a run with every kind of cell: pass, known fault, surprise, no verdict."""
    metrics = {"steps": 80, "in_order": 80, "off_order": 0, "distinct_pcs": 80, "rate": 301.5}
    return a_record(
        folder,
        stepped(
            folder,
            "none",
            steps_of(INTERRUPTED),
            variant="none",
            seen="stuck",
            wanted="stuck",
            message="step 1 went to el1_interrupt+0x1c, and stays there",
        ),
        stepped(folder, "v5", steps_of(WALKED), variant="v5/1", wanted="pass", metrics=metrics),
        a_cell("v5/2", seen="rehit", wanted="stuck", message="seen\nagain"),
        a_cell("v5/1+2", seen="no-boot", message="the kernel does not boot"),
        a_cell("none", "kgdbts", wanted="pass"),
        a_cell("v5/1", "kgdbts", seen="hang", message="no answer"),
    )
