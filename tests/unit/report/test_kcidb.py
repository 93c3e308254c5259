# SPDX-License-Identifier: GPL-2.0-only
"""kcidb.json, compared with the schema that KCIDB itself ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kcidb_io
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.report.kcidb import kcidb
from tests.unit.report.material import a_run
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from kstep.results.record import Record

NOWHERE = Path("/nonexistent")
SCHEMA = kcidb_io.schema.V5_3


def drawn(record: Record) -> dict[str, Any]:
    """Draw a run, and have the schema check it."""
    data: dict[str, Any] = json.loads(kcidb(record))
    assert SCHEMA.is_valid_exactly(data)
    return data


def test_every_cell_is_a_test_of_a_build_of_a_checkout(tmp_path: Path) -> None:
    data = drawn(a_run(tmp_path))
    checkouts = {each["id"] for each in data["checkouts"]}
    builds = {each["id"]: each for each in data["builds"]}
    assert len(data["checkouts"]) == len(builds) == 4
    assert {each["checkout_id"] for each in builds.values()} == checkouts
    assert {each["build_id"] for each in data["tests"]} == set(builds)
    assert len({each["id"] for each in data["tests"]}) == len(data["tests"]) == 6


def test_the_status_is_what_the_kernel_did(tmp_path: Path) -> None:
    tests = drawn(a_run(tmp_path))["tests"]
    seen = {(each["misc"]["signature"], each["misc"]["matched"]): each["status"] for each in tests}
    assert seen == {
        (None, True): "PASS",
        ("stuck", True): "FAIL",
        ("rehit", False): "FAIL",
        ("hang", False): "FAIL",
        ("no-boot", False): "MISS",
    }


def test_a_test_says_where_it_belongs_and_what_was_heard(tmp_path: Path) -> None:
    tests = drawn(a_run(tmp_path))["tests"]
    (stuck,) = (each for each in tests if each["misc"]["signature"] == "stuck")
    assert stuck["path"] == "kstep.step-in-order.up_read"
    assert stuck["build_id"].endswith("/debian:6.1/base/none")
    assert stuck["comment"] == "step 1 went to el1_interrupt+0x1c, and stays there"
    assert stuck["log_excerpt"] == "[0]kdb>\n> ss"
    assert stuck["duration"] == 1.5


def test_patches_that_were_applied_make_the_patchset() -> None:
    checkout, other = drawn(a_record(NOWHERE, a_cell("v5/1"), a_cell("v5/2")))["checkouts"]
    # echo 4d4d... | sha256sum, as the schema's description has it
    assert checkout["patchset_hash"] == (
        "8b233676ee78dade7338821551100a118a62748a25ac777b6cdc05e4d0843e42"
    )
    assert checkout["misc"]["patches"]["v5/2"] == ["reverted", "5e" * 32]
    assert "patchset_hash" not in other


def test_the_schema_sees_a_slip() -> None:
    """A check that lets these pass would be worth nothing."""
    data = drawn(a_record(NOWHERE, a_cell()))
    for key, value in (("status", "OK"), ("path", "a b"), ("duration", "1")):
        broken = json.loads(json.dumps(data))
        (test,) = broken["tests"]
        test[key] = value
        assert not SCHEMA.is_valid_exactly(broken)


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_fits_the_schema(text: str, name: str) -> None:
    drawn(a_record(NOWHERE, a_cell(name, f"s[{name}]", "stuck", message=text)))


@pytest.mark.parametrize("name", ["", "é", "a.b"])
def test_any_case_has_a_path(name: str) -> None:
    (test,) = drawn(a_record(NOWHERE, a_cell(name=f"s[{name}]")))["tests"]
    assert test["path"].startswith("kstep.s.")
