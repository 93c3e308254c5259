# SPDX-License-Identifier: GPL-2.0-only
"""Kernels broken on purpose: the sessions for a fault must detect it.

A session that passes on all of them would pass on any kernel.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import yaml

from kstep.base.cache import Cache
from kstep.base.outcome import Outcome, Signature
from kstep.base.progress import Progress
from kstep.build import kconfig
from kstep.build.kernel import Kernel
from kstep.results.cell import cell_name
from kstep.run import preparation, request, runner
from kstep.run.boot import Boot, Result
from kstep.session import session
from kstep.source import series
from kstep.source import variant as matrix
from kstep.source.patched import Unpatched
from tests.integration.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from kstep.run.preparation import Prepared
    from kstep.run.request import Request

pytestmark = pytest.mark.kernel

FOLDER = ROOT / "tests/mutants"
TREE = "debian:6.1"
SESSIONS = session.load(ROOT / "tests/sessions")

# Each whole series that mutants are made from
WHOLE = {
    name: f"{name}/" + "+".join(str(n + 1) for n in range(len(series.load(name, ROOT).patches)))
    for name in ("v6", "v7")
}


@dataclass(frozen=True)
class Catch:
    """A session that detects a mutant, in the named case, or in any if none is named."""

    session: str
    case: str | None

    @classmethod
    def parse(cls, text: str) -> Catch:
        """Read ``session`` or ``session[case]``."""
        name, _, case = text.removesuffix("]").partition("[")
        return cls(name, case or None)

    def __str__(self) -> str:
        return cell_name(self.session, self.case)


@dataclass(frozen=True)
class Mutant:
    """An entry of mutants.yaml."""

    name: str
    breaks: str
    caught_by: tuple[Catch, ...]
    nightly: bool
    kconfig: str
    of: str
    tree: str
    prints: str

    @property
    def base(self) -> tuple[str, str]:
        """The tree and the configuration that it is built from."""
        return self.tree, self.kconfig

    @property
    def whole(self) -> str:
        """The variant that it is made from."""
        return WHOLE[self.of]

    @property
    def variant(self) -> str:
        """All patches of its series, and the mutant as one more."""
        return f"{self.name}/{self.whole.partition('/')[2]}+{self._number}"

    @property
    def _number(self) -> int:
        return self.whole.count("+") + 2

    def series(self, scratch: Path) -> Path:
        """Write the series with the mutant after its own patches."""
        folder = scratch / self.name
        shutil.copytree(ROOT / "patches" / self.of, folder, ignore=shutil.ignore_patterns("*.yaml"))
        for port in folder.glob(f"{self.tree.removeprefix('debian:')}/*.patch"):
            shutil.copyfile(port, folder / port.name)
        shutil.copyfile(
            FOLDER / f"{self.name}.patch", folder / f"{self._number:04}-{self.name}.patch"
        )
        return folder


MUTANTS = [
    Mutant(
        item["name"],
        item["breaks"],
        tuple(map(Catch.parse, item["caught-by"])),
        item.get("nightly", False),
        item.get("kconfig", kconfig.BASE),
        item.get("series", "v6"),
        item.get("tree", TREE),
        item.get("prints", ""),
    )
    for item in yaml.safe_load((FOLDER / "mutants.yaml").read_text())
]
# On every change the first session named must detect a mutant; by night all of them must, also
# for mutants that differ little from another one.
PAIRS = [
    pytest.param(
        mutant,
        catch,
        id=f"{mutant.name}-{catch}",
        marks=[pytest.mark.nightly] if mutant.nightly or number else [],
    )
    for mutant in MUTANTS
    for number, catch in enumerate(mutant.caught_by)
]


def test_every_patch_is_listed_and_every_session_exists() -> None:
    assert sorted(mutant.name for mutant in MUTANTS) == sorted(
        path.stem for path in FOLDER.glob("*.patch")
    )
    for mutant in MUTANTS:
        assert mutant.caught_by, f"nothing catches {mutant.name}: a session is missing"
        config = kconfig.load(mutant.kconfig, ROOT / kconfig.FOLDER)
        for catch in mutant.caught_by:
            script = SESSIONS[catch.session]
            assert catch.case in (None, *script.case_names)
            assert not any(map(config.surely_lacks, script.needs)), f"{catch} is not run there"


HERE = [mutant for mutant in MUTANTS if mutant.tree == TREE]  # of another tree: by night


@pytest.mark.parametrize("mutant", HERE, ids=[mutant.name for mutant in HERE])
def test_the_mutant_applies(mutant: Mutant, tmp_path: Path, source: Path) -> None:
    """Even one that is not built this time."""
    made = series.load(str(mutant.series(tmp_path)), ROOT)
    assert Unpatched.of(source, [made]).patched(matrix.parse(mutant.variant, [made])).files


Seen = tuple[Outcome, Signature | None]


@dataclass(frozen=True)
class Mutants:
    """Mutants that are to be caught, built from one tree and configuration, and their origin."""

    asked: Request
    prepared: Prepared
    folder: Path
    usual: dict[tuple[str, str, str | None], Seen] = field(default_factory=dict)

    def run(self, variant: str, catch: Catch) -> Generator[Result, None, None]:
        """Run a session on a kernel, over one case or all."""
        (kernel,) = [each.kernel for each in self.prepared.built if each.first == variant]
        assert isinstance(kernel, Kernel), kernel
        cells = [
            cell
            for cell in self.asked.cells
            if (cell.variant, cell.session) == (variant, catch.session)
            and catch.case in (None, cell.case)
        ]
        return runner.run(
            Boot(
                cells=tuple(cells),
                kernel=kernel,
                initramfs=self.prepared.initramfs.path,
                sessions=ROOT / "tests/sessions",
                accel=self.prepared.accel,
            ),
            self.prepared.toolchain,
            self.folder,
        )

    def usually(self, whole: str, session_name: str, case: str | None) -> Seen:
        """Return the result of a case on the kernel that a mutant is made from."""
        if (whole, session_name, case) not in self.usual:
            for result in self.run(whole, Catch(session_name, case)):
                key = whole, result.cell.session, result.cell.case
                self.usual[key] = (result.outcome, result.signature)
        return self.usual[whole, session_name, case]


@pytest.fixture(scope="module")
def mutants(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[tuple[str, str], Mutants]:
    """Build those that the selected tests must detect, by tree and configuration."""
    folder = tmp_path_factory.mktemp("mutants")
    chosen = [
        mutant
        for mutant in MUTANTS
        if any(
            isinstance(item, pytest.Function)
            and item.originalname == test_the_session_sees_the_fault.__name__
            and item.callspec.params["mutant"] == mutant
            for item in request.session.items
        )
    ]
    return {
        base: _build(folder, *base, [mutant for mutant in chosen if mutant.base == base])
        for base in {mutant.base for mutant in chosen}
    }


def _build(folder: Path, tree: str, kconfig_name: str, chosen: Sequence[Mutant]) -> Mutants:
    asked = request.look_up(
        ROOT,
        series_specs=[
            *{mutant.of: None for mutant in chosen},
            *(str(mutant.series(folder)) for mutant in chosen),
        ],
        tree_specs=[tree],
        kconfig_names=[kconfig_name],
        variant_names=[
            *{mutant.whole: None for mutant in chosen},
            *(mutant.variant for mutant in chosen),
        ],
        session_names=list(SESSIONS),
    )
    with Progress() as progress:
        return Mutants(asked, preparation.prepare(asked, "auto", Cache.default(), progress), folder)


@pytest.mark.parametrize(("mutant", "catch"), PAIRS)
def test_the_session_sees_the_fault(
    mutants: dict[tuple[str, str], Mutants], mutant: Mutant, catch: Catch
) -> None:
    """In a case whose result differs without the mutant; the first one is enough."""
    alike = mutants[mutant.base]
    with contextlib.closing(alike.run(mutant.variant, catch)) as results:
        for result in results:
            seen = result.outcome, result.signature
            usual = alike.usually(mutant.whole, catch.session, result.cell.case)
            assert Outcome.ERROR not in (usual[0], result.outcome), (usual, result.message)
            if result.outcome is Outcome.FAIL and seen != usual:
                assert mutant.prints in result.message
                return
    pytest.fail(f"{catch} sees nothing where {mutant.breaks}")
