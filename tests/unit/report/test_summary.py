# SPDX-License-Identifier: GPL-2.0-only
"""summary.md, read back with a Markdown parser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kstep.report.summary import summary
from kstep.results.printable import printable
from kstep.results.provenance import LeftOut
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from markdown_it.token import Token

    from kstep.results.cell import CellRecord

NOWHERE = Path("/nonexistent")
PARSER = MarkdownIt("commonmark").enable("table")


def tokens(text: str) -> list[Token]:
    """Parse into blocks and the inline tokens inside them."""
    return [inner for token in PARSER.parse(text) for inner in (token, *(token.children or []))]


def rows(*cells: CellRecord) -> list[list[str]]:
    """Draw the cells and read the first table, as rendered text without its markup."""
    parsed = PARSER.parse(summary(a_record(NOWHERE, *cells)))
    found: list[list[str]] = []
    for token in parsed:
        if token.type == "tr_open":
            found.append([])
        elif token.type == "inline" and found and token.level > 3:
            shown = (inner.content for inner in token.children or [])
            found[-1].append("".join(shown))
    return found


def test_the_table() -> None:
    cells = [a_cell("none", seen="stuck", wanted="stuck"), a_cell("v5/1")]
    cells += [a_cell("v5/2", seen="rehit", wanted="stuck"), a_cell("v5/1+2", seen="no-boot")]
    assert rows(*cells, a_cell("none", "kgdbts")) == [
        ["test", "none", "v5/1", "v5/2", "v5/1+2"],
        ["kgdbts", "pass", "not run", "not run", "not run"],
        ["step-in-order[up_read]", "stuck (expected)", "pass", "rehit", "no verdict: no-boot"],
    ]


def test_repeats_are_counted() -> None:
    cells = [a_cell(repeat=number) for number in range(1, 20)]
    assert rows(*cells, a_cell(seen="stuck", repeat=20)) == [
        ["test", "none"],
        ["step-in-order[up_read]", "19 pass, 1 stuck: passes 95% (76-99)"],
    ]


def test_the_verdict_comes_first_then_the_table_then_what_did_not_match() -> None:
    text = summary(a_record(NOWHERE, a_cell("none", seen="stuck"), a_cell("v5/1")))
    places = ["1 of 2 tests came out", "Look first at", "fixes 1 of 1", "| test |"]
    places += ["## Not as expected", "### debian:6.1/base/none"]
    assert [text.index(place) for place in places] == sorted(map(text.index, places))
    assert "**expected pass, was stuck**: " in text


def test_a_run_as_expected_has_nothing_to_tell() -> None:
    text = summary(a_record(NOWHERE, a_cell(seen="stuck", wanted="stuck"), a_cell("v5/1")))
    assert "Not as expected" not in text
    assert "<details>" not in text


def test_what_repeats_share_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "console.log").write_text('0.1 < "</pre><b>&\\r\\n\\r\\n# `end`\\r\\n"\n')
    files = {"console_log": "console.log"}
    cells = [
        a_cell(seen="stuck", repeat=number, message=f"at {number}", files=files)
        for number in (3, 2, 1)
    ]
    text = summary(a_record(tmp_path, *cells))
    assert text.count("### ") == text.count("<details>") == text.count("</details>") == 1
    assert "**expected pass, was stuck**, 3 times: at 1" in text
    blocks = [token.content for token in tokens(text) if token.type == "html_block"]
    (console,) = (each for each in blocks if each.startswith("<pre>"))
    assert console == "<pre>\n&lt;/pre&gt;&lt;b&gt;&amp;\n\n# `end`\n</pre>\n"


def test_what_github_has_no_room_for_is_counted() -> None:
    cells = [a_cell("none", f"s[f{n}]", "stuck", message="é" * 2000) for n in range(500)]
    text = summary(a_record(NOWHERE, *cells))
    assert 900_000 < len(text.encode()) < 1024 * 1024
    told = text.count("### ")
    assert f"And {500 - told} more, which do not fit here: see report.html." in text
    assert text.rstrip().endswith("6.1.192")


def test_a_run_without_cells_can_be_drawn() -> None:
    assert "kstep" in summary(a_record(NOWHERE))


anything = st.text(st.characters()) | st.text(st.sampled_from("|`*_<>[]()#\\&;!~$-= \n\r\0ab"))


@given(anything, anything)
def test_nothing_from_a_guest_is_markup(text: str, name: str) -> None:
    cell = a_cell("none", f"s[{name}]", "stuck", message=f"seen: {text}")
    drawn = summary(a_record(NOWHERE, cell))
    drawn.encode("utf-8")
    plain = summary(a_record(NOWHERE, a_cell("none", "s[x]", "stuck", message="seen: x")))
    assert [each.type for each in PARSER.parse(drawn)] == [
        each.type for each in PARSER.parse(plain)
    ]
    forbidden = {"html_inline", "link_open", "image", "code_inline", "em_open", "html_block"}
    assert not forbidden & {token.type for token in tokens(drawn)}
    _, row = rows(cell)
    assert row == [" ".join(printable(f"s[{name}]").split()), "stuck"]
    told = [
        "".join(inner.content for inner in token.children or [])
        for token in PARSER.parse(drawn)
        if token.type == "inline" and token.content.startswith("**expected pass, was stuck**: ")
    ]
    expected = " ".join(f"seen: {printable(text)}".split())
    assert told == [f"expected pass, was stuck: {expected}"]


def test_a_fault_of_the_unpatched_kernel_too_is_not_bold(tmp_path: Path) -> None:
    """And what was left out is said."""
    cells = [a_cell("none", seen="stuck", held=True), a_cell("mine/1", seen="rehit", held=True)]
    record = a_record(tmp_path, *cells)
    record.left_out = (LeftOut("debian:6.1", "mine/2", "it needs 1"),)
    text = summary(record)
    assert "| stuck (unpatched too) | rehit (unpatched too) |" in text
    assert "- skipped: debian:6.1 mine/2: it needs 1" in text
