# SPDX-License-Identifier: GPL-2.0-only
"""The command that repeats a run, or one cell of it, from the request that the run kept.

It must be run in kstep's folder. An old run without a request has the command as typed, for
its cells too.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from kstep.results.cell import BASE
from kstep.results.merge import requests
from kstep.results.setup import COMPILER

if TYPE_CHECKING:
    from kstep.results.cell import Cell
    from kstep.results.record import Record
    from kstep.results.request import Asked

ROOT = "--search-root"  # ./inv adds it before what was typed
USUAL = {
    "compiler": COMPILER,
    "matrix": "each",
    "repeat": "1",
    "jobs": "0",
    "toolchain": "auto",
    "accel": "auto",
}


def whole(record: Record) -> str:
    """Return the command that repeats the run."""
    if record.request is not None:
        return _command(record.request)
    argv = record.run.argv
    return shlex.join(["./inv", *(argv[2:] if argv[:1] == (ROOT,) else argv)])


def narrowed(record: Record, cell: Cell) -> str:
    """Return the command for one cell, on its variant and on ``none``.

    An external machine runs only one kernel, so ``none`` is omitted there. For merged runs it is
    the command of the first run that has the cell.
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
        compilers=(cell.compiler,),
        suites=(cell.suite,) if cell.suite else (),
        variants=(cell.variant,) if alone else (BASE, cell.variant),
        sessions=(asked.selector(cell) or cell.name,),
        repeat=1,
        jobs=0,
    )


def _command(asked: Asked) -> str:
    words = ["verify"]
    for name, value in asked.options().items():
        if value not in ("", USUAL.get(name)):
            words += [f"--{name}", value]
    words += ["--trust"] * asked.trust
    if asked.folder == ".":
        return shlex.join(["./inv", *words])
    return f'(cd {shlex.quote(asked.folder)} && "$OLDPWD/inv" {shlex.join(words)})'
