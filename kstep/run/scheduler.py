# SPDX-License-Identifier: GPL-2.0-only
"""What a scheduler is: it has every boot of a run carried out, here or elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kstep.results.cell import Cell
    from kstep.run.boot import Boot, Result
    from kstep.toolchain import Toolchain

MOST_WORKERS = 2  # that a boot may cost; then it is the boot that kills them


class Scheduler(Protocol):
    """Takes boots, which are independent of each other, and gives a result for each cell.

    The contract:

    - Each cell of each boot is given to ``on_result`` exactly once, by the thread that called
      run(), in any order. Its files are in ``folder`` by then: a scheduler whose workers share
      no disk with this machine has a boot run in a scratch folder (runner.run() takes any),
      and copies the result's files from there.
    - ``on_start`` is called when a cell begins, again if it begins again.
    - Boots with a ``line`` are run one after another, because there is one machine.
    - A worker that dies costs its boot only: another worker runs the cells that have no result
      yet, and the result of the cell that it died in has that try as ``earlier``. If that worker
      dies too, those cells result in ``error``/``infrastructure``. The run goes on.
    - Whatever ends run(), an exception of ``on_result`` or Ctrl-C among it, ends the workers
      and their machines first. If the process of run() is killed, they end within seconds.
    """

    def run(
        self,
        boots: Sequence[Boot],
        toolchain: Toolchain,
        folder: Path,
        on_start: Callable[[Cell], None],
        on_result: Callable[[Result], None],
    ) -> None:
        """Run all boots with a toolchain; their files go into ``folder``, which is there.

        Raises MachineryError if no boot can be run at all.
        """
