# SPDX-License-Identifier: GPL-2.0-only
"""The figures of every ``./inv bench`` of CI, a line for each, so that a slower kstep is seen.

A line is JSON: the commit, when it was measured, and each figure as bench.json has it.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kstep.base import temporary
from kstep.base.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

LAST = 14  # lines that a new one is compared with
LEAST = 5  # values of a figure, without which nothing is said of it
DIGITS = 6
KEPT = 1000  # lines: some years of nights


@dataclass(frozen=True)
class Worse:
    """A figure that is farther from the median of the last ones than they were, but for one."""

    name: str
    value: float
    median: float
    spread: float

    def __str__(self) -> str:
        """Return it for a log."""
        return (
            f"{self.name}: {self.value:g}; the last had a median of {self.median:g} and a spread"
            f" of {self.spread:g}"
        )


def add(bench: Path, history: Path, commit: str) -> list[Worse]:
    """Append what was measured to a history, which may not be there yet; return what is worse.

    Raises RequestError for a file that is not what bench or this function writes.
    """
    figures = _figures(bench)
    before = list(_lines(history))
    line = {"commit": commit, "time": round(time.time()), "figures": figures}
    text = "".join(f"{json.dumps(each)}\n" for each in (*before, line)[-KEPT:])
    temporary.replace(history, text)
    return [
        found
        for name, figure in figures.items()
        if (found := _worse(name, figure, [each["figures"].get(name) for each in before]))
    ]


def _worse(
    name: str, figure: Mapping[str, Any], before: Sequence[Mapping[str, Any] | None]
) -> Worse | None:
    values = [each["value"] for each in before if each is not None][-LAST:]
    if len(values) < LEAST or figure["value"] == figure["bound"]:
        return None  # at the bound it is good enough, and does not say on which side that is
    least = (figure["value"] > figure["bound"]) == figure["met"]
    median = statistics.median(values)
    *usual, _ = sorted(abs(value - median) for value in values)  # but for one night's accident
    spread = round(usual[-1], DIGITS)
    behind = (median - figure["value"]) if least else (figure["value"] - median)
    if round(behind, DIGITS) <= spread:
        return None
    return Worse(name, figure["value"], median, spread)


def _figures(bench: Path) -> dict[str, dict[str, Any]]:
    try:
        figures = json.loads(bench.read_text("utf-8"))["figures"]
        return {
            name: {key: each[key] for key in ("value", "bound", "met")}
            for name, each in figures.items()
        }
    except OSError as error:
        raise RequestError(f"{bench}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{bench}: must be what ./inv bench writes") from error


def _lines(history: Path) -> Iterator[dict[str, Any]]:
    if not history.exists():
        return
    for number, text in enumerate(history.read_text("utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            _ = [each["value"] + 0 for each in line["figures"].values()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"{history}:{number}: must be a line of ./inv ci.history"
            raise RequestError(message) from error
        yield line
