# SPDX-License-Identifier: GPL-2.0-only
"""Resumes a run where it stopped, with the same request and the same inputs."""

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

FREE = ("jobs",)  # may differ: no result depends on it


def request_of(folder: Path, given: Mapping[str, str]) -> Asked:
    """Return what a run was asked for; ``given`` are the options that are typed with --resume.

    Raises RequestError if the run cannot be resumed, or had another value for an option.
    """
    record = load(folder)
    if record.request is None or not record.inputs:
        raise RequestError(
            f"--resume {folder}: its request and inputs are unknown (it was merged, or made by"
            " an older kstep); start a new run"
        )
    kept = record.request.options()
    for name, value in given.items():
        if name not in FREE and value != kept.get(name, ""):
            had = f"has --{name} {kept[name]}" if kept.get(name) else f"has no --{name}"
            raise RequestError(
                f"--{name} {value}: the run that --resume names {had}; omit the option"
            )
    return record.request


def without_verdict(cells: Iterable[Cell], record: Record) -> list[Cell]:
    """Return the cells that have no result, or ``error``, which is not a verdict."""
    judged = {each.cell for each in record.cells if each.outcome is not Outcome.ERROR}
    return [cell for cell in cells if cell not in judged]
