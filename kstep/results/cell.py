# SPDX-License-Identifier: GPL-2.0-only
"""The unit of result, by which everything about a run is looked up."""

from __future__ import annotations

from dataclasses import dataclass


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
