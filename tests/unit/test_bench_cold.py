# SPDX-License-Identifier: GPL-2.0-only
"""Kernels of a bench, built from nothing by a real make."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from kstep.base.progress import Progress
from kstep.bench import cold
from kstep.bench.kernels import SOURCE
from kstep.run.building import Built
from kstep.source.variant import Variant
from kstep.toolchain import CommandError
from tests.unit.build.test_builder import CONFIG, WITH_A, Work, patched
from tests.unit.build.test_builder import tmp_path as tmp_path  # noqa: PLC0414 -- without blanks

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.run.preparation import Prepared


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Return a source of four files, one of which each variant of the bench changes."""
    monkeypatch.setattr(cold, "CHANGED", "kernel/b.c")
    return Work(tmp_path)


def prepared(work: Work) -> Prepared:
    """Build none and another variant."""
    variants = (("none", patched({})), ("v/1", patched(WITH_A)))
    built = [
        Built(work.tree, CONFIG, ((Variant(n, "v", ()), s),), work.builder().build(s, n))
        for n, s in variants
    ]
    return cast(
        "Prepared",
        SimpleNamespace(
            built=built,
            toolchain=work.tools,
            versions=SimpleNamespace(compiler="gcc 12; ld 2.40"),
        ),
    )


def test_all_is_built_twice_and_once_by_make_itself(work: Work, tmp_path: Path) -> None:
    made = prepared(work)
    kept = work.kept()
    work.tools.ran.clear()
    with Progress() as progress:
        found = cold.build(made, tmp_path, progress)
    figures, growth = found.figures, found.growth
    assert 0 < found.compile_seconds < 1
    assert set(figures) == {
        *(SOURCE, "kernels_over_plain_make", "kernels_of_warm_ccache_over_cold"),
    }
    assert all(figure.value > 0 for figure in figures.values())
    assert list(growth) == [1, 2, 4, 8]
    assert work.tools.ran.count("Image") == 2 + 2 + 8
    assert work.kept() == kept, "another cache was used"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "tree"]


def test_a_make_that_fails_is_no_figure(work: Work, tmp_path: Path) -> None:
    made = prepared(work)
    (work.tree.source / "Makefile").write_text("Image:\n\tfalse\n")
    with pytest.raises(CommandError):
        cold._plain(work.builder(), made.built[0].require().config, tmp_path / "plain")
