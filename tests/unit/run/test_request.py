# SPDX-License-Identifier: GPL-2.0-only
"""What is asked for where little is said, and in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kstep.base.errors import RequestError
from kstep.run import request

ROOT = Path(__file__).parents[3]
PATCH = ROOT / "patches/v6/0001-arm64-entry-put-a-step-aside-while-an-interrupt-is-handled.patch"


def test_the_defaults_are_every_variant_and_every_session() -> None:
    asked = request.look_up(ROOT, series_specs=["v5", "v6"], tree_specs=["debian:6.1"])
    names = [each.name for each in asked.variants]
    assert names == ["none", "v5/1", "v5/2", "v5/1+2", "v6/1", "v6/2", "v6/1+2"]
    scripts = {path.stem.replace("_", "-") for path in (ROOT / "tests/sessions").glob("*.py")}
    assert {each.name for each in asked.sessions} <= scripts
    assert {"step-in-order", "continue-past-breakpoint"} <= {each.name for each in asked.sessions}
    assert {cell.kconfig for cell in asked.cells} == {"base"}


def test_what_nobody_described_is_held_against_none() -> None:
    """None itself only where that is so of every series."""
    for specs, held in (
        (["v6"], {"none": False, "v6/1": False}),
        ([str(PATCH)], {"none": True, f"{PATCH.stem}/1": True}),
        (["v6", str(PATCH)], {"none": False, "v6/1": False, f"{PATCH.stem}/1": True}),
    ):
        asked = request.look_up(ROOT, series_specs=specs, tree_specs=["debian:6.1"])
        found = {cell.variant: asked.is_held(cell) for cell in asked.cells}
        assert {name: found[name] for name in held} == held


def test_sessions_run_in_the_order_in_which_they_were_named() -> None:
    asked = request.look_up(
        ROOT,
        series_specs=["v6"],
        tree_specs=["debian:6.1"],
        session_names=["step-in-order", "continue-past-breakpoint"],
    )
    assert [each.name for each in asked.sessions] == ["step-in-order", "continue-past-breakpoint"]


# -- what a kernel has not


# -- cells that only a run of none can judge


def variants(*names: str, series: str = str(PATCH), **more: object) -> list[str]:
    """The variants of a request for some."""
    asked = request.look_up(
        ROOT,
        series_specs=[series],
        tree_specs=["debian:6.1"],
        variant_names=names,
        session_names=more.pop("sessions", ["step-in-order"]),  # type: ignore[arg-type]
        with_base=bool(more.pop("with_base", True)),
    )
    return [each.name for each in asked.variants]


def test_none_is_run_along_where_it_is_the_measure(tmp_path: Path) -> None:
    mine = f"{PATCH.stem}/1"
    assert variants(mine) == ["none", mine]
    assert variants(mine, "none") == [mine, "none"]
    assert variants(mine, with_base=False) == [mine]
    assert variants("v6/1", series="v6") == ["v6/1"]  # expect.yaml is the measure
    own = tmp_path / "mine.py"
    own.write_text(OWN)
    assert variants("v6/1", series="v6", sessions=[str(own)]) == ["none", "v6/1"]


OWN = """\
from kstep.session.session import session


@session(claim="Mine works.")
def mine(target):
    pass
"""


def test_no_expectation_of_ours_speaks_of_a_session_of_the_user_s(tmp_path: Path) -> None:
    """Our "sessions: all" would have it pass with none, where nobody has tried it."""
    own = tmp_path / "mine.py"
    own.write_text(OWN)
    asked = request.look_up(
        ROOT,
        series_specs=["v6"],
        tree_specs=["debian:6.1"],
        session_names=[str(own), "step-in-order[vfs_mkdir]"],
    )
    for cell in asked.cells:
        expected = asked.expectations.of(cell, "6.1.100")
        assert (expected is None) == asked.is_held(cell) == (cell.session == "mine")


# -- compilers and suites


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"compiler_names": ["icc"]}, "--compiler icc: must be gcc or clang"),
        ({"compiler_names": []}, "--compiler: empty; name one, or omit the option"),
        ({"compiler_names": ["gcc", "gcc"]}, "--compiler: gcc is named twice; name it once"),
        ({"suite_names": ["bullseye"]}, "--suite bullseye: must be one of bookworm, trixie, forky"),
        ({"suite_names": ["sid", "sid"]}, "--suite: sid is named twice; name it once"),
        (
            {"kconfig_names": ["clang-hardened"]},
            r"hardened.config:\d+: .* is for clang, and gcc is asked for; use --compiler clang$",
        ),
        (
            {"kconfig_names": ["clang-hardened"], "compiler_names": ["clang", "gcc"]},
            "and gcc is asked for; use --compiler clang$",
        ),
    ],
)
def test_tools_that_cannot_be_are_refused_in_a_line(more: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        request.look_up(ROOT, series_specs=["v6"], tree_specs=["debian:6.1"], **more)


def test_each_compiler_and_suite_has_its_cells() -> None:
    asked = request.look_up(
        ROOT,
        series_specs=["v6"],
        tree_specs=["debian:6.1"],
        variant_names=["none"],
        session_names=["step-in-order[vfs_mkdir]"],
        compiler_names=["gcc", "clang"],
        suite_names=["trixie"],
    )
    assert [cell.column for cell in asked.plan] == [
        "debian:6.1/base/trixie/none",
        "debian:6.1/base/clang/trixie/none",
    ]
