# SPDX-License-Identifier: GPL-2.0-only
"""The command that repeats a cell: the one that was typed, narrowed down to it.

Of merged runs, which were made by several commands, each cell has the first that asked for
its tree and kconfig.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from kstep.results.cell import BASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kstep.results.cell import Cell
    from kstep.results.provenance import RunRecord

VERIFY = "verify"
ROOT = "--search-root"  # which ./inv puts before what was typed
REPLACED = ("tree", "kconfig", "matrix", "variants", "sessions", "repeat", "jobs", "out")


def whole(run: RunRecord) -> str:
    """Return the run's own command, to be given anew."""
    found = _options(run.argv)
    if found is None:
        return shlex.join(["./inv", *_typed(run.argv)])
    kept = [(name, value) for name, value in found if name != "out"]
    return _join(kept)


def narrowed(run: RunRecord, cell: Cell) -> str:
    """Return the command for the cell's session on its variant, and on ``none`` beside it.

    A command in a form that is not understood here is repeated as it is.
    """
    found = _options(_asking(run, cell))
    if found is None:
        return whole(run)
    variants = [BASE] if cell.variant == BASE else [BASE, cell.variant]
    kept = [(name, value) for name, value in found if name not in REPLACED]
    return _join(
        [
            *kept,
            ("tree", cell.tree),
            ("kconfig", cell.kconfig),
            ("variants", ",".join(variants)),
            ("sessions", cell.session),
        ]
    )


def _asking(run: RunRecord, cell: Cell) -> Sequence[str]:
    """Return what was typed to make a cell."""
    merged = run.host.get("merged")
    for origin in merged if isinstance(merged, list) else []:
        argv = tuple(map(str, origin["argv"]))
        asked = dict(_options(argv) or [])
        if cell.tree in asked.get("tree", "").split(",") and cell.kconfig in asked.get(
            "kconfig", ""
        ).split(","):
            return argv
    return run.argv


def _options(argv: Sequence[str]) -> list[tuple[str, str]] | None:
    """Take ``verify --name value --name=value`` apart; None for anything else."""
    command, *rest = _typed(argv) or ("",)
    if command != VERIFY:
        return None
    found: list[tuple[str, str]] = []
    words = iter(rest)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            return None
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                return None
        found.append((name.removeprefix("--"), value))
    return found


def _typed(argv: Sequence[str]) -> Sequence[str]:
    return argv[2:] if argv[:1] == (ROOT,) else argv


def _join(options: Sequence[tuple[str, str]]) -> str:
    words = [word for name, value in options for word in (f"--{name}", value)]
    return shlex.join(["./inv", VERIFY, *words])
