# SPDX-License-Identifier: GPL-2.0-only
"""The cells of a run, computed before anything is built, and how they share boots."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kstep.session.session import Session


@dataclass(frozen=True, order=True)
class Cell:
    """The unit of result: one session, over one case, on one kernel, once.

    ``repeat`` counts from 1; ``case`` is None where a session has no cases.
    """

    tree: str
    kconfig: str
    variant: str
    session: str
    case: str | None
    repeat: int

    @property
    def column(self) -> str:
        """The key of the verdict: tree, kconfig and variant."""
        return f"{self.tree}/{self.kconfig}/{self.variant}"

    @property
    def name(self) -> str:
        """The session, with the case in brackets where there is one."""
        return self.session if self.case is None else f"{self.session}[{self.case}]"


def cells(
    trees: Sequence[str],
    kconfigs: Sequence[str],
    variants: Sequence[str],
    sessions: Sequence[Session],
    repeats: int,
) -> tuple[Cell, ...]:
    """List every cell of a run, those that may share a boot one after another."""
    return tuple(
        Cell(tree, kconfig, variant, session.name, case, repeat)
        for tree, kconfig, variant, session in product(trees, kconfigs, variants, sessions)
        for repeat in range(1, repeats + 1)
        for case in session.case_names
    )


def boots(planned: Iterable[Cell]) -> list[tuple[Cell, ...]]:
    """Group cells by boot: the cases of one session on one kernel, in one repeat.

    They leave the kernel as they found it when they pass; after one that does not, the
    runner starts another machine for the rest.
    """
    return [
        tuple(group)
        for _, group in groupby(planned, key=lambda cell: (cell.column, cell.session, cell.repeat))
    ]
