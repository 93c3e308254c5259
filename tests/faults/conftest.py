# SPDX-License-Identifier: GPL-2.0-only
"""Counts the injections, and prints at the end what they came to, by their kind."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.faults.faults import Preload, compiled
from tests.faults.place import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TALLY = pytest.StashKey[dict[str, Counter[str]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    config.stash[TALLY] = tally


@pytest.fixture
def injected(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return what counts an injection of a kind, with what it came to."""

    def count(kind: str, outcome: str) -> None:
        request.config.stash[TALLY][kind][outcome] += 1

    return count


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile what is preloaded."""
    return compiled(tmp_path_factory.mktemp("preload"))


@pytest.fixture
def preload(library: Path, tmp_path: Path) -> Preload:
    """Give a plan for one run."""
    return Preload(library, tmp_path / "faults")


@pytest.fixture(scope="session")
def runs(library: Path) -> Iterator[Runs]:
    """Start runs, each in a process of its own."""
    started = Runs(library)
    yield started
    started.end()


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Return the test's source of chance: the test's name and its seed repeat it."""
    return random.Random(request.node.name)  # noqa: S311 -- it is to be repeatable


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, and how one injection is run again."""
    tally = terminalreporter.config.stash.get(TALLY, {})
    if not tally:
        return
    terminalreporter.section(f"{sum(c.total() for c in tally.values())} faults injected")
    for kind, found in sorted(tally.items()):
        terminalreporter.write_line(f"{kind}: {found.total()}")
        for outcome, number in found.most_common():
            terminalreporter.write_line(f"    {number:4} {outcome}")
    terminalreporter.write_line("one of them again: pytest -m '' 'tests/faults/FILE::TEST[SEED]'")
