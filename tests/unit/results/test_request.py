# SPDX-License-Identifier: GPL-2.0-only
"""What was asked for, kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kstep.results.request import Asked
from tests.unit.results.material import ASKED, a_cell

FULL = replace(
    ASKED,
    folder="../linux",
    trees=("debian:6.1", "git:.#v6.12"),
    kconfigs={"base": "base", "mine": "conf/mine.config"},
    variants=("none", "v6/1"),
    sessions=("perf",),
    repeat=3,
)


@pytest.mark.parametrize("asked", [ASKED, FULL])
def test_it_is_read_as_it_was_written(asked: Asked) -> None:
    assert Asked.from_json(json.loads(json.dumps(asked.to_json()))) == asked


@pytest.mark.parametrize(
    ("other", "asked_for"),
    [
        ({}, True),
        ({"kconfig": "mine", "tree": "git:.#v6.12", "variant": "none", "repeat": 3}, True),
        ({"tree": "debian:6.12"}, False),
        ({"kconfig": "conf/mine.config"}, False),
        ({"variant": "v6/2"}, False),
        ({"session": "kgdbts"}, False),
        ({"repeat": 4}, False),
    ],
)
def test_which_cells_were_asked_for(other: dict[str, Any], asked_for: bool) -> None:  # noqa: FBT001 -- a row
    cell = replace(a_cell("v6/1", "perf").cell, **other)
    assert FULL.asks(cell) is asked_for


def test_without_names_every_variant_and_session_was_asked_for() -> None:
    assert ASKED.asks(a_cell("v6/1+2", "anything[at all]").cell)
