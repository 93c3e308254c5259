# SPDX-License-Identifier: GPL-2.0-only
"""Figures, their bounds, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

Growth = dict[str, dict[int, float]]  # of a quantity, in seconds, at each size


@dataclass(frozen=True)
class Figure:
    """A measured value and its bound, which is a minimum if ``least``, else a maximum."""

    value: float
    bound: float
    least: bool

    @property
    def met(self) -> bool:
        """Whether the value is within its bound."""
        return self.value >= self.bound if self.least else self.value <= self.bound

    def to_json(self) -> dict[str, Any]:
        """Return the figure as bench.json stores it."""
        return {"value": round(self.value, 4), "bound": self.bound, "met": self.met}


def most(value: float, bound: float) -> Figure:
    """Return a figure that must not be above its bound."""
    return Figure(value, bound, least=False)


def least(value: float, bound: float) -> Figure:
    """Return a figure that must not be below its bound."""
    return Figure(value, bound, least=True)


@dataclass(frozen=True)
class Bench:
    """All figures, and what the ratios were made of.

    ``rates`` are in steps per second; ``growth`` has what a quantity, in seconds, is at each
    size; ``missing`` says why a figure or a peer could not be measured here.
    """

    figures: Mapping[str, Figure]
    rates: Mapping[str, float]
    growth: Mapping[str, Mapping[int, float]]
    missing: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the content of bench.json."""
        growth = {
            name: {str(size): round(seconds, 6) for size, seconds in each.items()}
            for name, each in self.growth.items()
        }
        return {
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
            "growth": growth,
            "rates": {name: round(rate, 1) for name, rate in self.rates.items()},
            "missing": dict(self.missing),
        }
