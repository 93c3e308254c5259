# SPDX-License-Identifier: GPL-2.0-only
"""Annotations, in the form that GitHub reads from a job's log."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kstep.base.outcome import Signature
from kstep.report.annotation import annotate
from tests.unit.results.material import a_cell, a_record

NOWHERE = Path("/nonexistent")
COMMAND = re.compile(r"::error(?: ([a-z]+=[^,:]+(?:,[a-z]+=[^,:]+)*))?::(.*)")


def test_a_run_as_expected_has_none() -> None:
    assert annotate(a_record(NOWHERE, a_cell(), a_cell("v5/1", "a", "stuck", "stuck"))) == []


def test_a_fault_is_told_once_where_its_session_is_written() -> None:
    cells = [
        a_cell(variant, seen="stuck", wanted="pass", message="50% off:\nat x, y")
        for variant in ("none", "v5/1")
    ]
    (line,) = annotate(a_record(NOWHERE, *cells))
    place, _, title = line.partition(",title=")
    message = title.rpartition("::")[2]
    assert place == "::error file=tests/sessions/step_in_order.py,line=34"
    assert title.startswith("step-in-order%3A expected pass%2C was stuck::debian:6.1/base/none ")
    assert message.endswith("[up_read] and 1 more: 50%25 off: at x, y")


def test_without_a_verdict_it_says_so() -> None:
    (line,) = annotate(a_record(NOWHERE, a_cell(seen="no-boot", name="old")))
    assert line == ("::error title=old%3A no verdict%3A no-boot::debian:6.1/base/none old: no-boot")


def test_what_github_does_not_show_is_counted() -> None:
    words = [str(word) for word in Signature][:14]
    lines = annotate(a_record(NOWHERE, *(a_cell(name=word, seen=word) for word in words)))
    assert len(lines) == 10
    assert lines[-1] == "::error::and 5 more: see report.html"


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_text_stays_one_command(text: str, name: str) -> None:
    cell = a_cell(name, f"s{name}", "stuck", message=text, files={"session": f"x{name}"})
    (line,) = annotate(a_record(NOWHERE, cell))
    assert len(line.splitlines()) == 1
    found = COMMAND.fullmatch(line)
    assert found is not None
    assert [each.partition("=")[0] for each in (found[1] or "").split(",")] == ["file", "title"]
