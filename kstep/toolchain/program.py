# SPDX-License-Identifier: GPL-2.0-only
"""A program of the toolchain, and how it prints its version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Program:
    """A program; in its ``--version``, the line that begins with ``says`` names the version."""

    name: str
    says: str

    def version(self, said: Iterable[str]) -> str:
        """Find its line in the output of several programs; "" if there is none."""
        return next((line for line in said if line.startswith(self.says)), "")
