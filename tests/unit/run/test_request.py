# SPDX-License-Identifier: GPL-2.0-only
"""What is asked for where little is said, and in which order."""

from __future__ import annotations

from pathlib import Path

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
