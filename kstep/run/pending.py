# SPDX-License-Identifier: GPL-2.0-only
"""A boot that is not done: what is left of it, and how its workers have died."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kstep.base.outcome import Outcome, Signature
from kstep.run import runner
from kstep.run.boot import Boot, Result
from kstep.run.scheduler import MOST_WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kstep.results.cell import Cell, Try


@dataclass
class Pending:
    """A boot that is not done; ``cells`` are those without a result, in order.

    ``deaths`` says how each worker ended that died in it; ``earlier`` are the tries in which they
    died, by the cell.
    """

    boot: Boot
    cells: list[Cell]
    deaths: list[str] = field(default_factory=list)
    earlier: dict[Cell, Try] = field(default_factory=dict)

    @classmethod
    def of(cls, boot: Boot) -> Pending:
        """Nothing of the boot has been run."""
        return cls(boot, list(boot.cells))

    @property
    def rest(self) -> Boot:
        """What is left to run."""
        return replace(self.boot, cells=tuple(self.cells), tried=frozenset(self.earlier))

    def take(self, result: Result) -> Result:
        """Note a result; return it with the try before, in which a worker died, if there was one.

        Raises ValueError if the cell has one already, or is not of this boot.
        """
        self.cells.remove(result.cell)
        if (earlier := self.earlier.get(result.cell)) is not None:
            return replace(result, earlier=(earlier, *result.earlier))
        return result

    def died(
        self,
        why: str,
        folder: Path,
        say: Callable[[str], None],
        on_result: Callable[[Result], None],
        began: Cell | None = None,
    ) -> bool:
        """Note that a worker died; return whether another one must run what is left.

        ``why`` is in a few words, such as "SIGKILL". ``began`` is the cell in which it died, by
        default the first. If too many have died in the boot, its cells are given up, without a
        verdict.
        """
        self.deaths.append(why)
        if not self.cells:
            say(f"a worker process died after its boot was done ({why})")
            return False
        what = f"a worker process died ({why})"
        first = began if began in self.cells else self.cells[0]
        said = f"{first.variant} {first.name}: {what}"
        if len(self.deaths) < MOST_WORKERS:
            say(f"{said}; another one runs its boot")
            lost = Result(first, Outcome.ERROR, Signature.INFRASTRUCTURE, what)
            self.earlier[first] = lost.as_earlier(runner.set_aside(first, folder))
            return True
        say(f"{said} like the one before; boot given up")
        message = f"{MOST_WORKERS} worker processes died in this boot: {'; '.join(self.deaths)}"
        for cell in self.cells:
            on_result(
                Result(
                    cell,
                    Outcome.ERROR,
                    Signature.INFRASTRUCTURE,
                    message if cell == first else f"not run: {message}, at {first.name}",
                    files=runner.files(cell, folder),
                    earlier=(self.earlier[cell],) if cell in self.earlier else (),
                )
            )
        self.cells.clear()
        return False
