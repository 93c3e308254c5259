# SPDX-License-Identifier: GPL-2.0-only
"""The JUnit file, read back with two readers that did not write it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import junitparser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.report.junit import junit
from kstep.results.printable import printable
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from kstep.results.cell import CellRecord

NOWHERE = Path("/nonexistent")


def suites(text: str) -> list[junitparser.TestSuite]:
    """Read the file as a reader of JUnit does."""
    return list(junitparser.JUnitXml.fromstring(text.encode("utf-8")))


def one_case(cell: CellRecord, path: Path = NOWHERE) -> ET.Element:
    """Draw one cell and read it with expat."""
    root = ET.fromstring(junit(a_record(path, cell)).encode("utf-8"))  # noqa: S314 -- ours
    (case,) = root.iter("testcase")
    return case


def test_one_flat_suite_a_variant() -> None:
    cells = [a_cell("v5/1+2"), a_cell("none", "b"), a_cell("none", "a"), a_cell("v5/1")]
    found = suites(junit(a_record(NOWHERE, *cells)))
    assert [suite.name for suite in found] == [
        "debian:6.1/base/none",
        "debian:6.1/base/v5/1",
        "debian:6.1/base/v5/1+2",
    ]
    (none,) = (suite for suite in found if suite.name == "debian:6.1/base/none")
    assert [case.name for case in none] == ["a", "b"]
    assert none.timestamp == "2026-03-01T10:00:00+00:00"
    root = ET.fromstring(junit(a_record(NOWHERE, *cells)))  # noqa: S314 -- ours
    assert root.findall("testsuite/testsuite") == []


def test_counts() -> None:
    cells = [
        a_cell(name="a"),
        a_cell(name="b", seen="stuck", wanted="stuck"),
        a_cell(name="c", seen="stuck"),
        a_cell(name="d", wanted="stuck"),
        a_cell(name="e", seen="no-boot"),
    ]
    (suite,) = suites(junit(a_record(NOWHERE, *cells)))
    assert (suite.tests, suite.skipped, suite.failures, suite.errors) == (5, 1, 2, 1)
    assert suite.time == 7.5
    counted = junitparser.TestSuite("again")
    counted.add_testcases(list(suite))
    assert (counted.tests, counted.skipped, counted.failures, counted.errors) == (5, 1, 2, 1)


def test_a_pass_says_where_and_how_long() -> None:
    case = one_case(a_cell(seconds=2.25, files={"session": "tests/sessions/step_in_order.py"}))
    assert case.attrib == {
        "name": "step-in-order[up_read]",
        "classname": "kstep.debian:6.1.base.none",
        "time": "2.250000",
        "file": "tests/sessions/step_in_order.py",
        "line": "34",
    }
    assert list(case) == []


@pytest.mark.parametrize("seconds", [0.0, 1e-9])
def test_time_is_always_there(seconds: float) -> None:
    assert one_case(a_cell(seconds=seconds)).get("time") == "0.001000"


def test_a_viewer_that_splits_at_the_last_dot_finds_the_variant() -> None:
    name = one_case(a_cell("my.v5/1+2")).get("classname", "")
    assert name.rpartition(".") == ("kstep.debian:6.1.base", ".", "my_v5/1+2")


def test_an_expected_failure_is_skipped() -> None:
    case = one_case(a_cell(seen="stuck", wanted="stuck", message="at el1_interrupt+0x2c"))
    (mark,) = case
    assert mark.tag == "skipped"
    assert mark.get("message") == "expected failure: stuck: at el1_interrupt+0x2c"


@pytest.mark.parametrize(
    ("cell", "tag", "kind", "message"),
    [
        (a_cell(seen="rehit", message="a\nb"), "failure", "rehit", "expected pass, was rehit: a b"),
        (
            a_cell(seen="rehit", wanted="stuck", message="again"),
            "failure",
            "rehit",
            "expected stuck, was rehit: again",
        ),
        (
            a_cell(wanted="stuck"),
            "failure",
            "unexpected-pass",
            "expected stuck, was pass",
        ),
        (a_cell(seen="no-boot", wanted="stuck"), "error", "no-boot", "no-boot:"),
    ],
)
def test_what_is_not_as_expected(cell: CellRecord, tag: str, kind: str, message: str) -> None:
    (found,) = one_case(cell)
    assert (found.tag, found.get("type"), found.get("message")) == (tag, kind, message)


@pytest.mark.parametrize(
    ("seen", "wanted"), [("stuck", None), ("stuck", "stuck"), ("hang", "stuck")]
)
def test_a_message_is_short_and_the_body_has_all_of_it(seen: str, wanted: str | None) -> None:
    long = "step 1 went astray " * 40
    (found,) = one_case(a_cell(seen=seen, wanted=wanted, message=long))
    message = found.get("message", "")
    assert len(message) == 200
    assert message.endswith("…")
    assert found.text == long


def test_the_body_ends_with_the_console(tmp_path: Path) -> None:
    lines = [f'{number}.0 < "line {number}\\r\\n"\n' for number in range(100)]
    (tmp_path / "console.log").write_text("".join(lines))
    files = {"console_log": "console.log"}
    for word in ("stuck", "no-boot"):
        (found,) = one_case(a_cell(seen=word, message="first\nsecond", files=files), tmp_path)
        assert found.text is not None
        assert found.text.startswith("first\nsecond\n")
        assert found.text.split("\n")[-40:] == [f"line {number}" for number in range(60, 100)]


def test_repeats_are_numbered_where_there_are_several() -> None:
    cells = [a_cell(name="a"), *(a_cell(name="b", repeat=number) for number in (10, 2, 1))]
    (suite,) = suites(junit(a_record(NOWHERE, *cells)))
    assert [case.name for case in suite] == ["a", "b #1", "b #2", "b #10"]


def test_provenance() -> None:
    root = ET.fromstring(junit(a_record(NOWHERE, a_cell("v5/1"))))  # noqa: S314 -- ours
    assert {each.get("name"): each.get("value") for each in root.iter("property")} == {
        "kstep": "0.1.0",
        "run": "r1",
        "tree": "debian:6.1",
        "kconfig": "base",
        "variant": "v5/1",
        "compiler": "gcc",
        "toolchain": "docker",
        "toolchain.image": "sha256:d1",
        "gcc": "gcc 12.2.0",
        "qemu": "qemu 7.2.9",
        "tree.version": "6.1.192",
        "tree.sha256": "7e" * 32,
        "image.sha256": "1a" * 32,
        "patch.v5/1": f"applied, sha256 {'4d' * 32}",
        "patch.v5/2": f"reverted, sha256 {'5e' * 32}",
    }


def test_a_run_without_cells_is_a_valid_file() -> None:
    assert suites(junit(a_record(NOWHERE))) == []


anything = st.text(st.characters()) | st.text(
    st.sampled_from("<&]>\"'\0\x1b\r\n\t\ud800\uffff\x85é")
)


@given(anything, anything, st.sampled_from(["pass", "stuck", "no-boot"]))
def test_hostile_text_reaches_the_reader_harmless(text: str, other: str, seen: str) -> None:
    cell = a_cell(other, f"s[{text}]", seen, "pass", message=text, files={"session": other})
    case = one_case(cell)
    assert case.get("classname", "").startswith("kstep.debian:6.1.base.")
    if seen == "pass":
        return
    (found,) = case
    assert (found.text or "") == printable(text)
    assert printable(found.get("message", "")) == found.get("message")
    (suite,) = suites(junit(a_record(NOWHERE, cell)))
    assert suite.failures + suite.errors == 1


@given(st.text(st.characters(), min_size=1).map(lambda text: text.replace("\r", "")))
def test_a_name_is_read_as_it_was_written(text: str) -> None:
    spaces = str.maketrans("\t\n", "  ")  # as written up to Python 3.12
    name = one_case(a_cell(name=f"s[{text}]")).get("name", "")
    assert name.translate(spaces) == printable(f"s[{text}]").translate(spaces)


def test_a_fault_of_the_unpatched_kernel_too_is_skipped(tmp_path: Path) -> None:
    """It is not the series'."""
    cells = [a_cell("none", seen="stuck", held=True), a_cell("mine/1", seen="rehit", held=True)]
    (none, mine) = suites(junit(a_record(tmp_path, *cells)))
    base = "no expectation; the other kernels are compared with this one: stuck:"
    for suite, start in (
        (none, base),
        (mine, "no expectation; the unpatched kernel fails too: rehit:"),
    ):
        (case,) = suite
        (result,) = case.result
        assert result.message.startswith(start)
