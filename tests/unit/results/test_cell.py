# SPDX-License-Identifier: GPL-2.0-only
"""A cell, and whether it came out as predicted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kstep.base.outcome import Outcome
from kstep.results.cell import Expected
from tests.unit.results.material import a_cell


@pytest.mark.parametrize(
    ("seen", "wanted", "matched"),
    [
        ("pass", None, True),
        ("stuck", None, False),
        ("no-boot", None, False),
        ("pass", "pass", True),
        ("pass", "stuck", False),
        ("stuck", "stuck", True),
        ("rehit", "stuck", False),
        ("no-boot", "stuck", False),
    ],
)
def test_matched(seen: str, wanted: str | None, matched: bool) -> None:  # noqa: FBT001 -- a row
    assert a_cell(seen=seen, wanted=wanted).matched is matched


@pytest.mark.parametrize(
    ("seen", "matched"), [("stuck", True), ("hang", True), ("pass", False), ("no-boot", False)]
)
def test_a_failure_that_varies(seen: str, matched: bool) -> None:  # noqa: FBT001 -- a row
    cell = replace(a_cell(seen=seen), expected=Expected(Outcome.FAIL, None))
    assert cell.matched is matched
