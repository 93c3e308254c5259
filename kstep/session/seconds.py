# SPDX-License-Identifier: GPL-2.0-only
"""The usual time of each cell, measured by a run and stored beside the sessions."""

from __future__ import annotations

import json
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.errors import MachineryError
from kstep.results.cell import cell_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kstep.results.cell import CellRecord
    from kstep.session.session import Session

FILE = "seconds.json"


def load(folder: Path) -> dict[str, float]:
    """Return the usual seconds by the name of a cell, boot included; empty if not stored."""
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        return {name: float(value) for name, value in json.loads(path.read_text()).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise MachineryError(f"{path}: not a mapping of cells to seconds: {error}") from error


def measured(records: Iterable[CellRecord]) -> dict[str, float]:
    """Return the median seconds of each cell over the kernels of a run."""
    found: dict[str, list[float]] = defaultdict(list)
    for each in records:
        found[each.cell.name].append(each.seconds)
    return {name: round(median(values), 1) for name, values in sorted(found.items())}


def save(folder: Path, usual: Mapping[str, float]) -> None:
    """Store measured times, and keep those of other cells."""
    kept = {**load(folder), **usual}
    temporary.replace(folder / FILE, json.dumps(kept, indent=0, sort_keys=True) + "\n")


def of(script: Session, usual: Mapping[str, float]) -> float | None:
    """Return the usual seconds of all cases of a session; None if one is unknown."""
    names = [cell_name(script.name, case) for case in script.case_names]
    known = [usual[name] for name in names if name in usual]
    return sum(known) if len(known) == len(names) else None
