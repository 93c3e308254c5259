# SPDX-License-Identifier: GPL-2.0-only
"""Versions of Linux, and spans of them: "from 5.18", "up to 6.19", "from 5.18 up to 6.19"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_SPAN = re.compile(r"(?:from (?P<first>\d+\.\d+))?(?:\b ?up to (?P<last>\d+\.\d+))?")


def number(text: str) -> tuple[int, int]:
    """Return the first two numbers of a version such as "6.1.192"; (0, 0) if it is none."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass(frozen=True)
class Span:
    """Versions from ``first`` to ``last``, both included; None for an open end."""

    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a span; None if the text is not one, or empty."""
        found = _SPAN.fullmatch(text)
        if not text or found is None:
            return None
        return cls(*(number(end) if end else None for end in found.group("first", "last")))

    def __str__(self) -> str:
        ends = (("from", self.first), ("up to", self.last))
        return " ".join(f"{word} {end[0]}.{end[1]}" for word, end in ends if end)

    def holds(self, version: str) -> bool:
        """Whether ``version``, such as "6.1.192", is in the span."""
        at = number(version)
        return (self.first or at) <= at <= (self.last or at)


EVERY = Span()
