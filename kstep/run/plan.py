# SPDX-License-Identifier: GPL-2.0-only
"""The cells of a run, computed before anything is built, and how they share boots."""

from __future__ import annotations

from itertools import groupby, product
from typing import TYPE_CHECKING

from kstep.results.cell import Cell
from kstep.results.setup import COMPILER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kstep.session.session import Session


def cells(
    trees: Sequence[str],
    kconfigs: Sequence[str],
    variants: Sequence[str],
    sessions: Sequence[Session],
    repeats: int,
    compilers: Sequence[str] = (COMPILER,),
    suites: Sequence[str] = ("",),
) -> tuple[Cell, ...]:
    """Return every cell of a run; those that may share a boot are adjacent."""
    return tuple(
        Cell(tree, kconfig, variant, session.name, case, repeat, compiler, suite)
        for tree, kconfig, compiler, suite, variant, session in product(
            trees, kconfigs, compilers, suites, variants, sessions
        )
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
