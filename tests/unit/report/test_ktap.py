# SPDX-License-Identifier: GPL-2.0-only
"""results.ktap; the kernel's own parser reads it in tests/integration/test_ktap.py."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kstep.report.ktap import ktap
from tests.unit.results.material import a_cell, a_record

NOWHERE = Path("/nonexistent")


def test_one_nested_test_a_variant() -> None:
    cells = [
        a_cell("none", "b", seen="stuck", wanted="stuck", message="it\nstays"),
        a_cell("none", "a", repeat=2),
        a_cell("none", "a", repeat=1),
        a_cell("v5/1", "a", seen="rehit", wanted="stuck"),
        a_cell("v5/1", "b", wanted="stuck"),
        a_cell("v5/1", "c", seen="no-boot"),
    ]
    assert ktap(a_record(NOWHERE, *cells)).splitlines() == [
        "KTAP version 1",
        "1..2",
        "  KTAP version 1",
        "  # Subtest: debian:6.1/base/none",
        "  1..3",
        "  ok 1 a repeat 1",
        "  ok 2 a repeat 2",
        "  # it stays",
        "  ok 3 b # XFAIL stuck",
        "ok 1 debian:6.1/base/none",
        "  KTAP version 1",
        "  # Subtest: debian:6.1/base/v5/1",
        "  1..3",
        "  not ok 1 a # rehit, expected stuck",
        "  not ok 2 b # pass, expected stuck",
        "  not ok 3 c # ERROR no-boot",
        "not ok 2 debian:6.1/base/v5/1",
    ]


def test_an_empty_run() -> None:
    assert ktap(a_record(NOWHERE)) == "KTAP version 1\n1..0\n"


@given(st.text(st.characters()), st.text(st.sampled_from("# \n\r\tok not12.\0")))
def test_any_name_and_message_is_one_line(text: str, name: str) -> None:
    cell = a_cell("none", f"s[{name}]", "stuck", message=f"{name}{text}")
    lines = ktap(a_record(NOWHERE, cell)).split("\n")
    results = [line for line in lines if re.match(r" *(not )?ok \d+ ", line)]
    assert len(results) == 2
    (nested,) = (line for line in results if line.startswith("  "))
    assert nested.count("#") == 1
