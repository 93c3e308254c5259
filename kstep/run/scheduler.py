# SPDX-License-Identifier: GPL-2.0-only
"""The interface of a scheduler, which runs every boot of a run, here or elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kstep.results.cell import Cell
    from kstep.run.boot import Boot, Result
    from kstep.toolchain import Toolchain

MOST_WORKERS = 2  # that may die in a boot; then the boot is what kills them


class Scheduler(Protocol):
    """Runs boots, which are independent of each other, and delivers a result for each cell.

    The contract:

    - ``on_result`` is called exactly once for each cell of each boot, by the thread that called
      run(), in any order. The cell's files are in ``folder`` by then: if the workers share no
      disk with this machine, the scheduler runs a boot in a scratch folder (runner.run() takes
      any), and copies the result's files from there.
    - ``on_start`` is called when a cell begins, again if it begins again.
    - Boots with a ``line`` are run one after another, because there is one machine.
    - A worker that dies affects only its boot: another worker runs the cells that have no result
      yet, and the result of the cell in which it died has that try as ``earlier``. If that worker
      dies too, those cells result in ``error``/``infrastructure``. The run continues.
    - However run() ends, even by an exception of ``on_result`` or Ctrl-C, the workers and their
      machines are ended first. If the process of run() is killed, they end within seconds.
    """

    def run(
        self,
        boots: Sequence[Boot],
        toolchain: Toolchain,
        folder: Path,
        on_start: Callable[[Cell], None],
        on_result: Callable[[Result], None],
    ) -> None:
        """Run all boots with a toolchain; their files go into ``folder``, which exists.

        Raises MachineryError if no boot can be run at all.
        """
