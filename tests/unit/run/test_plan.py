# SPDX-License-Identifier: GPL-2.0-only
"""The cells of a run, and which of them share a boot."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kstep.machine.hardware import Hardware
from kstep.results.cell import Cell
from kstep.run import plan
from kstep.session.session import Session, Stepped


def a_session(name: str, *cases: str) -> Session:
    """Make a session that is never run."""
    return Session(
        name=name,
        claim="",
        script=print,
        cases=tuple(Stepped(case, "true", "") for case in cases),
        hardware=Hardware(),
        file=Path("x.py"),
        line=1,
    )


def test_a_cell_is_named_as_the_verdict_names_it() -> None:
    cell = Cell("debian:6.1", "base", "v6/1+2", "step-in-order", "vfs_mkdir", 3)
    assert cell.column == "debian:6.1/base/v6/1+2"
    assert cell.name == "step-in-order[vfs_mkdir]"
    assert Cell("t", "base", "none", "kgdbts", None, 1).name == "kgdbts"


def test_the_cases_of_one_session_share_a_boot_and_nothing_else_does() -> None:
    cells = plan.cells(["t"], ["base"], ["none", "v6/1"], [a_session("a", "x", "y")], 2)
    boots = [[f"{c.variant} {c.name} {c.repeat}" for c in boot] for boot in plan.boots(cells)]
    assert boots == [
        ["none a[x] 1", "none a[y] 1"],
        ["none a[x] 2", "none a[y] 2"],
        ["v6/1 a[x] 1", "v6/1 a[y] 1"],
        ["v6/1 a[x] 2", "v6/1 a[y] 2"],
    ]


names = st.lists(st.sampled_from("abcde"), unique=True, max_size=3)


@given(names, names, names, st.dictionaries(st.sampled_from("pqr"), names), st.integers(1, 3))
def test_every_cell_is_there_once_and_in_one_boot(
    trees: list[str],
    kconfigs: list[str],
    variants: list[str],
    sessions: dict[str, list[str]],
    repeats: int,
) -> None:
    scripts = [a_session(name, *cases) for name, cases in sessions.items()]
    cells = plan.cells(trees, kconfigs, variants, scripts, repeats)
    each = sum(max(1, len(cases)) for cases in sessions.values())
    assert len(cells) == len(trees) * len(kconfigs) * len(variants) * repeats * each
    assert len(set(cells)) == len(cells)
    boots = plan.boots(cells)
    assert tuple(chain.from_iterable(boots)) == cells
    keys = [{(cell.column, cell.session, cell.repeat) for cell in boot} for boot in boots]
    assert all(len(key) == 1 for key in keys)
    assert len(set(map(frozenset, keys))) == len(boots)


def test_compilers_and_suites_are_axes_as_trees_are() -> None:
    cells = plan.cells(
        ["t"], ["base"], ["none"], [a_session("a")], 1, ["gcc", "clang"], ["", "sid"]
    )
    assert [cell.column for cell in cells] == [
        "t/base/none",
        "t/base/sid/none",
        "t/base/clang/none",
        "t/base/clang/sid/none",
    ]
    assert len(plan.boots(cells)) == 4
