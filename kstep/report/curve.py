# SPDX-License-Identifier: GPL-2.0-only
"""The curve of a session that measures how a rate depends on the time of a step.

Its cells have these metrics: ``percent`` and the bounds of its interval, ``percent_at_least`` and
``percent_at_most``, of steps that ended in a vector; ``step_us``, what a step took on the guest's
clock, and ``period_us``, the period of the guest's timer, both in microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.results.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kstep.results.cell import CellRecord

NEEDED = ("percent", "percent_at_least", "percent_at_most", "step_us", "period_us")
POSITIVE = ("step_us", "period_us")  # or they have no place on a logarithmic axis


def points(cells: Iterable[CellRecord]) -> list[dict[str, object]]:
    """Return a point for each cell that has the metrics, by variant and time of a step."""
    found = []
    for each in cells:
        values = _metrics(each)
        if values is not None:
            share, low, high, step, period = values
            found.append(
                {
                    "case": printable(each.cell.case or ""),
                    "variant": printable(each.cell.variant),
                    "step": step,
                    "period": period,
                    "share": round(share / 100, 4),
                    "low": round(low / 100, 4),
                    "high": round(high / 100, 4),
                }
            )
    return sorted(found, key=lambda point: (point["variant"], point["step"]))


def _metrics(each: CellRecord) -> tuple[float, ...] | None:
    """Return the values of NEEDED; None if one is missing or makes no sense."""
    values: list[float] = []
    for name in NEEDED:
        value = each.metrics.get(name)
        if not isinstance(value, (int, float)) or (name in POSITIVE and value <= 0):
            return None
        values.append(float(value))
    return tuple(values)
