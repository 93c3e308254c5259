# SPDX-License-Identifier: GPL-2.0-only
"""What was asked for: series, trees, configurations and sessions, each found to exist."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from kstep.base.document import nearest
from kstep.base.errors import RequestError
from kstep.build import kconfig
from kstep.run import expectation, plan
from kstep.session import session
from kstep.source import series, tree
from kstep.source import variant as matrix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from kstep.build.kconfig import KconfigRequest
    from kstep.results.cell import Cell
    from kstep.run.expectation import Expectations
    from kstep.session.session import Session
    from kstep.source.series import Series
    from kstep.source.tree import TreeRequest
    from kstep.source.variant import Variant


MOST_REPEATS = 10_000  # of a cell: at some seconds each, a day


@dataclass(frozen=True)
class Request:
    """What was asked for, each part found to exist; nothing has been fetched or built."""

    root: Path
    series: tuple[Series, ...]
    trees: tuple[TreeRequest, ...]
    kconfigs: tuple[KconfigRequest, ...]
    variants: tuple[Variant, ...]
    chosen: bool  # whether the variants were named one by one
    sessions: tuple[Session, ...]
    expectations: Expectations
    repeats: int

    @cached_property
    def _undescribed(self) -> frozenset[str]:
        return frozenset(each.name for each in self.series if not expectation.describes(each))

    def is_held(self, cell: Cell) -> bool:
        """Whether a cell is held against ``none``, as nobody said what to expect of its series.

        ``none`` itself is the measure where that is so of every series.
        """
        name = matrix.parse(cell.variant, self.series).series
        return name in self._undescribed if name else len(self._undescribed) == len(self.series)

    @property
    def plan(self) -> Iterator[Cell]:
        """The cells, but for those whose kernel surely lacks what their session needs."""
        lacking = {
            (script.name, config.name)
            for script, config in itertools.product(self.sessions, self.kconfigs)
            if any(map(config.surely_lacks, script.needs))
        }
        return (cell for cell in self.cells if (cell.session, cell.kconfig) not in lacking)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell that is asked for."""
        return plan.cells(
            [each.id for each in self.trees],
            [each.name for each in self.kconfigs],
            [each.name for each in self.variants],
            self.sessions,
            self.repeats,
        )


def look_up(
    root: Path,
    *,
    series_specs: Sequence[str],
    tree_specs: Sequence[str],
    kconfig_names: Sequence[str] = (kconfig.BASE,),
    variant_names: Sequence[str] = (),
    matrix_name: str = "",
    session_names: Sequence[str] = (),
    repeats: int = 1,
) -> Request:
    """Look everything up; raises RequestError for what is not there or not right."""
    if not 1 <= repeats <= MOST_REPEATS:
        raise RequestError(f"--repeat {repeats}: it is 1 to {MOST_REPEATS}")
    series_list = tuple(series.load(spec, root) for spec in series_specs)
    _require_some("--series", series_specs)
    _require_distinct("--series", series_specs)
    for one, other in itertools.combinations(series_list, 2):
        if one.name == other.name:
            raise RequestError(
                f"--series: two are called {one.name};"
                " give one another name (./inv series.add --name)"
            )
    found = session.load(root / "tests/sessions")
    for name in session_names:
        if name not in found:
            raise RequestError(f'session "{name}" does not exist; {nearest(name, found)}')
    _require_distinct("--sessions", session_names)
    if variant_names and matrix_name:
        raise RequestError("--matrix and --variants both say which variants; leave one out")
    variants = [matrix.parse(name, series_list) for name in variant_names]
    _require_distinct("--variants", [each.name for each in variants])
    kconfigs = tuple(kconfig.load(name, root / kconfig.FOLDER) for name in kconfig_names)
    _require_some("--kconfig", kconfig_names)
    _require_distinct("--kconfig", [each.name for each in kconfigs])
    trees = tuple(tree.parse(spec) for spec in tree_specs)
    _require_some("--tree", tree_specs)
    _require_distinct("--tree", [each.id for each in trees])
    asked = Request(
        root=root,
        series=series_list,
        trees=trees,
        kconfigs=kconfigs,
        variants=tuple(variants or matrix.variants(series_list, matrix_name or "each")),
        chosen=bool(variants),
        sessions=tuple(
            found[name]
            for name in session_names or [n for n, each in found.items() if not each.unsettled]
        ),
        expectations=expectation.load(series_list, found),
        repeats=repeats,
    )
    for cell in asked.cells:
        asked.expectations.of(cell, None)
    kconfig.require_some(
        {each.name: each.needs for each in asked.sessions}, kconfigs, root / kconfig.FOLDER
    )
    return asked


def _require_some(option: str, names: Sequence[str]) -> None:
    if not names:
        raise RequestError(f"{option}: nothing is named; name one, or leave the option out")


def _require_distinct(option: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RequestError(f"{option}: {name} is named twice; name it once")
        seen.add(name)


def require_new(folder: Path) -> None:
    """Raise where a run's folder is there, or cannot be made once all is built."""
    if folder.exists():
        raise RequestError(f"--out {folder}: it exists; name a new folder")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    try:
        with TemporaryDirectory(prefix=".kstep-", dir=above):
            pass
    except OSError as error:
        reason = f"{above} is no folder to write into: {error.strerror}"
        raise RequestError(f"--out {folder}: {reason}") from error
