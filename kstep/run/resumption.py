# SPDX-License-Identifier: GPL-2.0-only
"""A run that is taken up again where it stopped: with the request, and the inputs, that it had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.base.errors import RequestError
from kstep.base.outcome import Outcome
from kstep.results.record import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kstep.results.cell import Cell
    from kstep.results.record import Record
    from kstep.results.request import Asked

FREE = ("jobs",)  # what may be another: no result depends on it


def request_of(folder: Path, given: Mapping[str, str]) -> Asked:
    """Return what a run was asked for; ``given`` are the options that are typed beside its name.

    Raises RequestError if the run cannot be taken up, or one of the options is another there.
    """
    record = load(folder)
    if record.request is None or not record.inputs:
        raise RequestError(
            f"--resume {folder}: it does not say what it was made from (it was merged, or made by"
            " an older kstep); give its command anew"
        )
    kept = record.request.options()
    for name, value in given.items():
        if name not in FREE and value != kept.get(name, ""):
            had = f"has --{name} {kept[name]}" if kept.get(name) else f"has no --{name}"
            raise RequestError(
                f"--{name} {value}: the run that --resume names {had}; leave the option out"
            )
    return record.request


def without_verdict(cells: Iterable[Cell], record: Record) -> list[Cell]:
    """Return the cells that have no result, or ``error``, which is no verdict."""
    judged = {each.cell for each in record.cells if each.outcome is not Outcome.ERROR}
    return [cell for cell in cells if cell not in judged]
