# SPDX-License-Identifier: GPL-2.0-only
"""The command that repeats a run, or one cell of it, from the request that the run kept.

It is given in kstep's folder. A run of before requests were kept has the command as it was
typed, for its cells too.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from kstep.results.cell import BASE
from kstep.results.merge import requests

if TYPE_CHECKING:
    from kstep.results.cell import Cell
    from kstep.results.record import Record
    from kstep.results.request import Asked

ROOT = "--search-root"  # which ./inv puts before what was typed
USUAL = {"matrix": "each", "repeat": "1", "jobs": "0", "toolchain": "auto", "accel": "auto"}


def whole(record: Record) -> str:
    """Return the run's own command, to be given anew."""
    if record.request is not None:
        return _command(record.request)
    argv = record.run.argv
    return shlex.join(["./inv", *(argv[2:] if argv[:1] == (ROOT,) else argv)])


def narrowed(record: Record, cell: Cell) -> str:
    """Return the command for the one cell, on its variant and on ``none`` beside it.

    A machine that kstep did not start runs one kernel: there ``none`` is left out. Of merged
    runs it is the command of the first that asked for the cell.
    """
    for asked in requests(record):
        if asked.asks(cell):
            return _command(_only(asked, cell))
    return whole(record)


def _only(asked: Asked, cell: Cell) -> Asked:
    alone = cell.variant == BASE or asked.machine
    return replace(
        asked,
        trees=(cell.tree,),
        kconfigs={cell.kconfig: asked.kconfigs[cell.kconfig]},
        variants=(cell.variant,) if alone else (BASE, cell.variant),
        sessions=(asked.selector(cell) or cell.name,),
        repeat=1,
        jobs=0,
    )


def _command(asked: Asked) -> str:
    options = {
        "series": ",".join(asked.series),
        "tree": ",".join(asked.trees),
        "kconfig": ",".join(asked.kconfigs.values()),
        "matrix": "" if asked.variants else asked.matrix,
        "variants": ",".join(asked.variants),
        "sessions": ",".join(asked.sessions),
        "repeat": str(asked.repeat),
        "jobs": str(asked.jobs),
        "toolchain": asked.toolchain,
        "accel": asked.accel,
        "machine": asked.machine,
        "reset": asked.reset,
    }
    words = ["verify"]
    for name, value in options.items():
        if value not in ("", USUAL.get(name)):
            words += [f"--{name}", value]
    words += ["--trust"] * asked.trust
    if asked.folder == ".":
        return shlex.join(["./inv", *words])
    return f'(cd {shlex.quote(asked.folder)} && "$OLDPWD/inv" {shlex.join(words)})'
