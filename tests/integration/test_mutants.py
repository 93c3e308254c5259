# SPDX-License-Identifier: GPL-2.0-only
"""Kernels broken on purpose: the sessions that are for a fault must see it.

A session that passes on all of them would pass on anything.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import yaml

from kstep import runner, series, session, verification
from kstep.cache import Cache
from kstep.kernel import Kernel
from kstep.outcome import Outcome
from kstep.progress import Progress
from kstep.runner import Boot, Result
from tests.integration.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from kstep.verification import Prepared, Request

pytestmark = pytest.mark.kernel

FOLDER = ROOT / "tests/mutants"
SESSIONS = session.load(ROOT / "tests/sessions")
WHOLE = "v6/1+2"  # what every mutant is made from


@dataclass(frozen=True)
class Mutant:
    """An entry of mutants.yaml."""

    name: str
    breaks: str
    caught_by: tuple[str, ...]

    @property
    def variant(self) -> str:
        """Patches 1 and 2 of v6, and the mutant as a third."""
        return f"{self.name}/1+2+3"

    def series(self, scratch: Path) -> Path:
        """Write the series that has the mutant behind the patches of v6."""
        folder = scratch / self.name
        shutil.copytree(ROOT / "patches/v6", folder, ignore=shutil.ignore_patterns("*.yaml"))
        shutil.copyfile(FOLDER / f"{self.name}.patch", folder / f"0003-{self.name}.patch")
        return folder


MUTANTS = [
    Mutant(item["name"], item["breaks"], tuple(item["caught-by"]))
    for item in yaml.safe_load((FOLDER / "mutants.yaml").read_text())
]
CAUGHT = [mutant for mutant in MUTANTS if mutant.caught_by]
PAIRS = [(mutant, name) for mutant in CAUGHT for name in mutant.caught_by]


def test_every_patch_is_listed_and_every_session_exists() -> None:
    assert sorted(mutant.name for mutant in MUTANTS) == sorted(
        path.stem for path in FOLDER.glob("*.patch")
    )
    assert {name for _, name in PAIRS} <= set(SESSIONS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_mutant_applies(mutant: Mutant, tmp_path: Path, source: Path) -> None:
    """Also one whose session is still to be written."""
    made = series.load(str(mutant.series(tmp_path)), ROOT)
    assert series.arrange(source, [made], series.parse(mutant.variant, [made])).files


@dataclass(frozen=True)
class Mutants:
    """The mutants that a session is to catch, built, and what they are made from."""

    asked: Request
    prepared: Prepared
    folder: Path
    cases: dict[str, set[str | None]] = field(default_factory=dict)

    def run(self, variant: str, session_name: str) -> Generator[Result, None, None]:
        """Run a session over the cases that pass on what the mutants are made from."""
        (kernel,) = [each.kernel for each in self.prepared.built if each.first == variant]
        assert isinstance(kernel, Kernel), kernel
        cells = [
            cell
            for cell in self.asked.cells
            if (cell.variant, cell.session) == (variant, session_name)
            and (variant == WHOLE or cell.case in self.passing(session_name))
        ]
        assert cells, f"no case of {session_name} passes without a mutant"
        return runner.run(
            Boot(
                cells=tuple(cells),
                kernel=kernel,
                initramfs=self.prepared.initramfs.path,
                sessions=ROOT / "tests/sessions",
                folder=self.folder,
            ),
            self.prepared.toolchain,
        )

    def passing(self, session_name: str) -> set[str | None]:
        """Return the cases of a session that pass on what the mutants are made from."""
        if session_name not in self.cases:
            results = list(self.run(WHOLE, session_name))
            self.cases[session_name] = {
                each.cell.case for each in results if each.outcome is Outcome.PASS
            }
        return self.cases[session_name]


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> Mutants:
    """Build those that a session is to catch."""
    folder = tmp_path_factory.mktemp("mutants")
    asked = verification.request(
        ROOT,
        series_specs=["v6", *(str(mutant.series(folder)) for mutant in CAUGHT)],
        tree_specs=["debian:6.1"],
        variant_names=[WHOLE, *(mutant.variant for mutant in CAUGHT)],
        session_names=list(dict.fromkeys(name for _, name in PAIRS)),
    )
    with Progress() as progress:
        return Mutants(
            asked, verification.prepare(asked, "auto", Cache.default(), progress), folder
        )


@pytest.mark.parametrize(
    "name", ["step-in-order", "continue-past-breakpoint", "step-then-continue"]
)
def test_what_they_are_made_from_passes(mutants: Mutants, name: str) -> None:
    assert mutants.passing(name) == set(SESSIONS[name].case_names)


@pytest.mark.parametrize(
    ("mutant", "name"), PAIRS, ids=[f"{mutant.name}-{name}" for mutant, name in PAIRS]
)
def test_the_session_sees_the_fault(mutants: Mutants, mutant: Mutant, name: str) -> None:
    """In a case that passes without it; the first is enough."""
    with contextlib.closing(mutants.run(mutant.variant, name)) as results:
        bad = next((each for each in results if each.outcome is not Outcome.PASS), None)
    assert bad is not None, f"{name} passes where {mutant.breaks}"
    assert bad.outcome is Outcome.FAIL, bad.message
