# SPDX-License-Identifier: GPL-2.0-only
"""expect.yaml: which rule holds, and what each slip in it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.results.cell import Cell, Expected
from kstep.run import expectation
from kstep.source.series import Patch, Series
from kstep.toolchain.accel import Accel
from tests.unit.run.test_plan import a_session

if TYPE_CHECKING:
    from pathlib import Path

SESSIONS = {
    each.name: each for each in (a_session("step-in-order", "f", "g"), a_session("kgdbts", "v1"))
}
PASS = Expected(Outcome.PASS, None)
STUCK = Expected(Outcome.FAIL, Signature.STUCK)


def a_series(folder: Path, text: str | None, name: str = "v6") -> Series:
    """Make a series of two patches with an expect.yaml."""
    where = folder / name
    where.mkdir()
    if text is not None:
        (where / "expect.yaml").write_text(text)
    patches = tuple(Patch(n, where / f"{n}.patch", "", b"", "", ()) for n in "12")
    return Series(name, patches, where)


def a_cell(variant: str = "none", name: str = "step-in-order", case: str | None = "f") -> Cell:
    """Make a cell."""
    return Cell("debian:6.1", "base", variant, name, case, 1)


def rule(**fields: object) -> str:
    """Write one rule; without fields it is a right one."""
    said = {
        "variants": "[none]",
        "sessions": "[step-in-order]",
        "outcome": "pass",
        "why": "because",
        **fields,
    }
    first, *rest = [f"{key}: {value}" for key, value in said.items() if value is not None]
    return "\n    ".join([f"  - {first}", *rest]) + "\n"


def rules(*each: str) -> str:
    """Write a file of rules."""
    return "rules:\n" + "".join(each)


FAILS = {"outcome": "fail", "signature": "stuck"}


def expected(
    folder: Path, cell: Cell, *texts: str, version: str | None = "6.1.192"
) -> Expected | None:
    """Say what is expected of a cell, with a file a series."""
    series = [a_series(folder, text, f"v{6 - n}") for n, text in enumerate(texts)]
    return expectation.load(series, SESSIONS).of(cell, version)


def test_a_rule_speaks_of_what_it_names(tmp_path: Path) -> None:
    text = rules(
        rule(variants="[none, v6/1]", **FAILS),
        rule(variants="[v6/2]", sessions="[kgdbts, step-in-order]"),
    )
    found = expectation.load([a_series(tmp_path, text)], SESSIONS)
    assert found.of(a_cell("none"), "6.1.192") == STUCK
    assert found.of(a_cell("v6/1", case="g"), "6.1.192") == STUCK
    assert found.of(a_cell("v6/2", "kgdbts", "v1"), "6.1.192") == PASS
    assert found.of(a_cell("v6/1+2"), "6.1.192") is None
    assert found.of(a_cell("none", "kgdbts", "v1"), "6.1.192") is None


def test_a_rule_may_speak_of_all_sessions(tmp_path: Path) -> None:
    text = rules(rule(sessions="all"), rule(**FAILS))
    found = expectation.load([a_series(tmp_path, text)], SESSIONS)
    assert found.of(a_cell(), None) == STUCK
    assert found.of(a_cell("none", "kgdbts", "v1"), None) == PASS
    assert found.of(a_cell("v6/1", "kgdbts", "v1"), None) is None


def test_a_rule_of_all_sessions_may_name_cases_of_any(tmp_path: Path) -> None:
    found = expectation.load(
        [a_series(tmp_path, rules(rule(sessions="all", cases="[g, v1]")))], SESSIONS
    )
    assert found.of(a_cell(case="f"), None) is None
    assert found.of(a_cell(case="g"), None) == PASS
    assert found.of(a_cell("none", "kgdbts", "v1"), None) == PASS


@pytest.mark.parametrize(
    ("field", "names", "holds"),
    [
        ("cases", "[f]", True),
        ("cases", "[g]", False),
        ("trees", '["debian:6.1"]', True),
        ("trees", '["debian:6.12"]', False),
        ("kconfigs", "[base]", True),
        ("kconfigs", "[voluntary]", False),
        ("versions", "from 6.1", True),
        ("versions", "up to 6.1", True),
        ("versions", "from 5.10 up to 6.12", True),
        ("versions", "from 6.12", False),
        ("versions", "up to 5.18", False),
    ],
)
def test_a_rule_can_be_narrower(field: str, names: str, holds: bool, tmp_path: Path) -> None:  # noqa: FBT001 -- a parameter
    text = rules(rule(**{field: names}))
    assert (expected(tmp_path, a_cell(), text) == PASS) is holds


def test_a_rule_for_some_versions_holds_of_none_that_is_not_known(tmp_path: Path) -> None:
    text = rules(rule(**FAILS), rule(versions="from 5.10"))
    assert expected(tmp_path, a_cell(), text, version=None) == STUCK


def test_a_rule_for_an_accelerator_holds_of_no_other(tmp_path: Path) -> None:
    text = rules(rule(**FAILS), rule(accels="[kvm, emulated-kvm]"))
    found = expectation.load([a_series(tmp_path, text)], SESSIONS)
    assert found.of(a_cell(), None, accel=Accel.TCG) == STUCK
    assert found.of(a_cell(), None, accel=Accel.EMULATED_KVM) == PASS
    assert found.of(a_cell(), None) == STUCK


def test_an_accelerator_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="hvf"):
        expectation.load([a_series(tmp_path, rules(rule(accels="[hvf]")))], SESSIONS)


def test_a_failure_that_varies_has_no_signature(tmp_path: Path) -> None:
    text = rules(rule(outcome="fail", signature="varies"))
    assert expected(tmp_path, a_cell(), text) == Expected(Outcome.FAIL, None)


def test_a_rule_with_cases_says_nothing_of_a_session_without(tmp_path: Path) -> None:
    sessions = {**SESSIONS, "alone": a_session("alone")}
    text = rules(rule(sessions="[alone, step-in-order]", cases="[f]"))
    found = expectation.load([a_series(tmp_path, text)], sessions)
    assert found.of(a_cell(name="alone", case=None), "6.1.192") is None


def test_of_the_rules_of_a_file_the_last_wins(tmp_path: Path) -> None:
    text = rules(rule(**FAILS), rule(cases="[f]"), rule(cases="[g]", **FAILS))
    assert expected(tmp_path, a_cell(case="f"), text) == PASS
    (tmp_path / "other").mkdir()
    assert expected(tmp_path / "other", a_cell(case="g"), text) == STUCK


def test_a_series_without_a_file_expects_nothing(tmp_path: Path) -> None:
    assert expectation.load([a_series(tmp_path, None)], SESSIONS).of(a_cell(), "6.1.192") is None
    mbox = Series("mbox", (), None)
    assert expectation.load([mbox], SESSIONS).of(a_cell(), "6.1.192") is None


def test_two_files_that_agree_on_none_are_one(tmp_path: Path) -> None:
    assert expected(tmp_path, a_cell(), rules(rule(**FAILS)), rules(rule(**FAILS))) == STUCK


def test_two_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as error:
        expected(tmp_path, a_cell(), rules(rule(**FAILS)), rules(rule(cases="[g]"), rule()))
    assert str(error.value) == (
        f"{tmp_path}/v5/expect.yaml:7: none, step-in-order[f]: expected outcome differs from"
        f" {tmp_path}/v6/expect.yaml:2; make them agree"
    )


def test_a_rule_that_is_overruled_contradicts_nobody(tmp_path: Path) -> None:
    assert expected(tmp_path, a_cell(), rules(rule(**FAILS), rule()), rules(rule())) == PASS


@pytest.mark.parametrize(
    ("fields", "line", "words"),
    [
        ({"sessions": "[step-in-ordr]"}, 3, 'did you mean "step-in-order"?'),
        ({"sessions": "[]"}, 3, "is empty"),
        ({"sessions": "step-in-order"}, 3, "must be a list"),
        ({"cases": "[h]"}, 6, 'case "h" does not exist; there are: f, g'),
        ({"cases": "[v1]"}, 6, 'case "v1" does not exist; there are: f, g'),
        ({"variants": "[v6]"}, 2, 'variant "v6" does not exist in series v6'),
        ({"variants": "[v6/3]"}, 2, 'variant "v6/3" does not exist in series v6'),
        ({"variants": "[v6/2+1]"}, 2, 'variant "v6/2+1" does not exist in series v6'),
        ({"variants": "[v6/1+1]"}, 2, 'variant "v6/1+1" does not exist in series v6'),
        ({"sessions": "al"}, 3, '"sessions" must be a list'),
        ({"sessions": "5"}, 3, '"sessions" must be a list'),
        ({"sessions": "[]"}, 3, '"sessions" is empty'),
        ({"sessions": "[all]"}, 3, 'session "all" does not exist; write sessions: all'),
        ({"sessions": "all", "cases": "[h]"}, 6, 'case "h" does not exist; there are: f, g, v1'),
        ({"variants": "[v5/1]"}, 2, 'variant "v5/1" does not exist in series v6'),
        ({"variants": "[None]"}, 2, 'variant "None" does not exist in series v6'),
        ({"variants": "[none, v6/]"}, 2, 'variant "v6/" does not exist in series v6'),
        ({"outcome": "error"}, 4, '"outcome" cannot be "error"'),
        ({"outcome": "fail"}, 2, 'key "signature" is missing'),
        ({"signature": "stuck"}, 6, "signature"),
        ({"signature": "varies"}, 6, "a cell that passes has no signature"),
        ({**FAILS, "signature": "stuk"}, 6, 'did you mean "stuck"?'),
        ({**FAILS, "signature": "no-boot"}, 6, "is not one of a kernel's"),
        ({"versions": "6.12"}, 6, "must be "),
        ({"versions": "since 6.12"}, 6, "write from 6.12"),
        ({"why": None}, 2, 'key "why" is missing'),
        ({"why": '""'}, 5, '"why"'),
        ({"wy": "x"}, 6, 'unknown key "wy"; did you mean "why"?'),
    ],
)
def test_every_slip_has_its_line(
    fields: dict[str, object], line: int, words: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as error:
        expectation.load([a_series(tmp_path, rules(rule(**fields)))], SESSIONS)
    said = str(error.value)
    assert said.startswith(f"{tmp_path}/v6/expect.yaml:{line}: "), said
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize("text", ["", "rules: []\n", "rules:\n", "[]\n", "rule: 1\n"])
def test_a_file_without_rules_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"expect\.yaml:1: "):
        expectation.load([a_series(tmp_path, text)], SESSIONS)


def test_the_line_is_that_of_the_name(tmp_path: Path) -> None:
    text = rules(rule(), rule(sessions="\n      - kgdbts\n      - nothing"))
    with pytest.raises(RequestError, match=r"expect\.yaml:9: session \"nothing\""):
        expectation.load([a_series(tmp_path, text)], SESSIONS)


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({"compilers": "[gcc]"}, True),
        ({"compilers": "[clang]"}, False),
        ({"suites": "[bookworm, sid]"}, True),
        ({"suites": "[trixie]"}, False),
        ({"accels": "[tcg]"}, True),
        ({"accels": "[kvm]"}, False),
    ],
)
def test_a_rule_may_be_for_some_tools(
    fields: dict[str, str],
    holds: bool,  # noqa: FBT001 -- a parameter
    tmp_path: Path,
) -> None:
    """Those of the toolchain, whether anybody asked for them or not."""
    text = rules(rule(**fields))
    found = expectation.load([a_series(tmp_path, text)], SESSIONS)
    assert (found.of(a_cell(), "6.1.192", "bookworm", Accel.TCG) == PASS) is holds
    if "compilers" not in fields:
        assert found.of(a_cell(), None) is None  # nothing is known yet


def test_a_suite_that_was_asked_for_counts(tmp_path: Path) -> None:
    text = rules(rule(suites="[trixie]"))
    found = expectation.load([a_series(tmp_path, text)], SESSIONS)
    cell = Cell("debian:6.1", "base", "none", "step-in-order", "f", 1, suite="trixie")
    assert found.of(cell, "6.1.192", "bookworm", Accel.TCG) == PASS


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"compilers": "[icc]"}, "icc"),
        ({"suites": "[bullseye]"}, "bullseye"),
        ({"accels": "[xen]"}, "xen"),
    ],
)
def test_tools_that_are_not_there_are_named_with_the_line(
    fields: dict[str, str], what: str, tmp_path: Path
) -> None:
    text = rules(rule(**fields))
    with pytest.raises(RequestError, match=rf"expect.yaml:\d+: .*{what}"):
        expectation.load([a_series(tmp_path, text)], SESSIONS)
