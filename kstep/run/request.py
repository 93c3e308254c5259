# SPDX-License-Identifier: GPL-2.0-only
"""What was asked for: series, trees, configurations, tools and sessions, all known to exist."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.errors import RequestError
from kstep.build import kconfig
from kstep.results.request import MOST_REPEATS
from kstep.run import expectation, plan
from kstep.session import selection
from kstep.source import series, standing, tree
from kstep.source import variant as matrix
from kstep.toolchain import GCC, compiler
from kstep.toolchain.suite import require_suite

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
    from kstep.toolchain import Compiler


@dataclass(frozen=True)
class Request:
    """What was asked for, all known to exist; nothing has been fetched or built."""

    root: Path
    series: tuple[Series, ...]
    trees: tuple[TreeRequest, ...]
    kconfigs: tuple[KconfigRequest, ...]
    variants: tuple[Variant, ...]
    chosen: bool  # whether the variants were named one by one
    sessions: tuple[Session, ...]
    selectors: tuple[str, ...]  # which select these sessions and cases again
    expectations: Expectations
    repeats: int
    base_added: bool = False  # whether none was added, not asked for
    trust: bool = False  # whether a build of any series may do what the user can
    compilers: tuple[Compiler, ...] = (GCC,)
    suites: tuple[str, ...] = ("",)  # of the tools; "": those that the toolchain has

    @cached_property
    def _undescribed(self) -> frozenset[str]:
        return frozenset(each.name for each in self.series if not expectation.describes(each))

    @property
    def untrusted(self) -> tuple[str, ...]:
        """The series that are neither in kstep's patches/ nor trusted by the user."""
        if self.trust:
            return ()
        ours = (self.root / "patches").resolve()
        return tuple(
            each.name
            for each in self.series
            if each.folder is None or each.folder.resolve().parent != ours
        )

    @cached_property
    def _own(self) -> frozenset[str]:
        return frozenset(each.name for each in self.sessions if each.own)

    @property
    def needs_base(self) -> bool:
        """Whether some cells can be judged only by a run of ``none``, which is not asked for."""
        names = {each.name for each in self.variants}
        return matrix.NONE.name not in names and any(map(self.is_held, self.cells))

    def is_held(self, cell: Cell) -> bool:
        """Whether a cell is compared with ``none``: its series or session has no expectations.

        A cell of ``none`` itself counts if no series, or not its session, has expectations.
        """
        if cell.session in self._own:
            return True
        name = matrix.parse(cell.variant, self.series).series
        return name in self._undescribed if name else len(self._undescribed) == len(self.series)

    @property
    def plan(self) -> Iterator[Cell]:
        """The cells, except those whose kernel surely lacks what their session needs."""
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
            [each.name for each in self.compilers],
            self.suites,
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
    with_base: bool = False,
    trust: bool = False,
    compiler_names: Sequence[str] = (GCC.name,),
    suite_names: Sequence[str] = (),
) -> Request:
    """Look everything up; raises RequestError for what does not exist or is invalid.

    ``with_base`` adds ``none`` to the variants if cells could not be judged without it.
    """
    if not 1 <= repeats <= MOST_REPEATS:
        raise RequestError(f"--repeat {repeats}: must be between 1 and {MOST_REPEATS}")
    series_list = tuple(series.load(spec, root) for spec in series_specs)
    _require_some("--series", series_specs)
    _require_distinct("--series", series_specs)
    for one, other in itertools.combinations(series_list, 2):
        if one.name == other.name:
            raise RequestError(
                f"--series: two are called {one.name}; rename one (./inv series.add --name)"
            )
    series_list = tuple(_standing(each, series_list, root) for each in series_list)
    _require_distinct("--sessions", session_names)
    selected = selection.select(root / "tests/sessions", session_names)
    variants = matrix.select(series_list, variant_names, matrix_name)
    kconfigs = tuple(kconfig.load(name, root / kconfig.FOLDER) for name in kconfig_names)
    _require_some("--kconfig", kconfig_names)
    _require_distinct("--kconfig", [each.name for each in kconfigs])
    _require_some("--compiler", compiler_names)
    _require_distinct("--compiler", compiler_names)
    compilers = tuple(map(compiler, compiler_names))
    for config, each in itertools.product(kconfigs, compilers):
        config.require_compiler(each)
    _require_distinct("--suite", suite_names)
    trees = tuple(tree.parse(spec) for spec in tree_specs)
    _require_some("--tree", tree_specs)
    _require_distinct("--tree", [each.id for each in trees])
    asked = Request(
        root=root,
        series=series_list,
        trees=trees,
        kconfigs=kconfigs,
        variants=tuple(variants),
        chosen=bool(variant_names),
        sessions=selected.sessions,
        selectors=selected.selectors,
        expectations=expectation.load(series_list, selected.known),
        repeats=repeats,
        trust=trust,
        compilers=compilers,
        suites=tuple(map(require_suite, suite_names)) or ("",),
    )
    if with_base and asked.needs_base:
        asked = replace(asked, variants=(matrix.NONE, *asked.variants), base_added=True)
    for cell in asked.cells:
        asked.expectations.of(cell, None)
    kconfig.require_some(
        {each.name: each.needs for each in asked.sessions}, kconfigs, root / kconfig.FOLDER
    )
    return asked


def _standing(asked: Series, others: Sequence[Series], root: Path) -> Series:
    """Return a series with its prerequisites found among the others and those in patches/."""
    if not asked.prerequisites:
        return asked
    known = list(others)
    for folder in sorted((root / "patches").glob("*/series.yaml")):
        with suppress(RequestError):  # not asked for, and not to be checked here
            known.append(series.load(folder.parent.name, root))
    return standing.look_up(asked, list({each.name: each for each in known}.values()))


def _require_some(option: str, names: Sequence[str]) -> None:
    if not names:
        raise RequestError(f"{option}: empty; name one, or omit the option")


def _require_distinct(option: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RequestError(f"{option}: {name} is named twice; name it once")
        seen.add(name)


def require_new(folder: Path) -> None:
    """Raise RequestError if a run's folder exists, or could not be created after the build."""
    if folder.exists():
        raise RequestError(f"--out {folder}: already exists; name a new folder")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    try:
        with temporary.folder(above):
            pass
    except OSError as error:
        reason = f"cannot write into {above}: {error.strerror}"
        raise RequestError(f"--out {folder}: {reason}") from error
