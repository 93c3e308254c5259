# SPDX-License-Identifier: GPL-2.0-only
"""What was asked for: the options of ``verify``, kept so that a run can be repeated exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from kstep.results.setup import COMPILER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.results.cell import Cell


MOST_REPEATS = 10_000  # of a cell: about a day, at some seconds each


@dataclass(frozen=True)
class Asked:
    """The options of one ``verify``, each as it was typed, or its default.

    ``kconfigs`` has what was typed, by the name that the run's cells use for it. Paths in the
    options are relative to ``folder``, which is itself relative to kstep's folder ("." if equal).
    Empty ``variants``: all that ``matrix`` makes; empty ``sessions``: every one that is settled.
    Selected ones are SESSION, SESSION[CASE] or FILE.py::SESSION[CASE].
    ``jobs`` is 0 for one per core; an empty ``machine`` is QEMU; without ``suites`` the tools are
    those that the toolchain has.
    """

    folder: str
    series: tuple[str, ...]
    trees: tuple[str, ...]
    kconfigs: Mapping[str, str]
    matrix: str
    variants: tuple[str, ...]
    sessions: tuple[str, ...]
    repeat: int
    jobs: int
    toolchain: str
    accel: str
    machine: str
    reset: str
    trust: bool = False
    compilers: tuple[str, ...] = (COMPILER,)
    suites: tuple[str, ...] = ()

    def asks(self, cell: Cell) -> bool:
        """Whether a cell was asked for, as far as the options tell."""
        return (
            cell.tree in self.trees
            and cell.kconfig in self.kconfigs
            and cell.compiler in self.compilers
            and cell.suite in (self.suites or ("",))
            and (not self.variants or cell.variant in self.variants)
            and (not self.sessions or self.selector(cell) is not None)
            and cell.repeat <= self.repeat
        )

    def selector(self, cell: Cell) -> str | None:
        """Return what selects just the cell's session and case; None if it was not asked for."""
        for selected in self.sessions or (cell.session,):
            file, separator, name = selected.rpartition("::")
            if name in (cell.session, cell.name):
                return f"{file}{separator}{cell.name}"
        return None

    def options(self) -> dict[str, str]:
        """Return the options by name, as they are typed; "" for one that is left out."""
        return {
            "series": ",".join(self.series),
            "tree": ",".join(self.trees),
            "kconfig": ",".join(self.kconfigs.values()),
            "compiler": ",".join(self.compilers),
            "suite": ",".join(self.suites),
            "matrix": "" if self.variants else self.matrix,
            "variants": ",".join(self.variants),
            "sessions": ",".join(self.sessions),
            "repeat": str(self.repeat),
            "jobs": str(self.jobs),
            "toolchain": self.toolchain,
            "accel": self.accel,
            "machine": self.machine,
            "reset": self.reset,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the request in the form of results.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> Self:
        """Read a request from a valid results.json."""
        names = ("series", "trees", "variants", "sessions", "compilers", "suites")
        lists = {name: tuple(item[name]) for name in names if name in item}
        fields: dict[str, Any] = {**item, **lists}
        return cls(**fields)
