# SPDX-License-Identifier: GPL-2.0-only
"""What was asked for: the options of ``verify``, kept so that a run can be repeated exactly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.results.cell import Cell


@dataclass(frozen=True)
class Asked:
    """The options of one ``verify``, each as it was typed, or its default.

    ``kconfigs`` has what was typed by the name that the run's cells have for it. Paths in the
    options are relative to ``folder``, which is itself relative to kstep's own, and "." there.
    No ``variants``: all that ``matrix`` makes; no ``sessions``: every one that is settled.
    ``jobs`` is 0 for one a core; an empty ``machine`` is QEMU.
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

    def asks(self, cell: Cell) -> bool:
        """Whether a cell was asked for, as far as the options name such things."""
        return (
            cell.tree in self.trees
            and cell.kconfig in self.kconfigs
            and (not self.variants or cell.variant in self.variants)
            and (not self.sessions or cell.session in self.sessions)
            and cell.repeat <= self.repeat
        )

    def to_json(self) -> dict[str, Any]:
        """Write the request as it stands in results.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> Self:
        """Read a request from a valid results.json."""
        lists = {name: tuple(item[name]) for name in ("series", "trees", "variants", "sessions")}
        fields: dict[str, Any] = {**item, **lists}
        return cls(**fields)
