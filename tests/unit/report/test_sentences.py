# SPDX-License-Identifier: GPL-2.0-only
"""The verdict in words, and in the parts that a report draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.report.sentences import Clause, sentence, sentences
from tests.unit.results.material import a_cell

if TYPE_CHECKING:
    from kstep.results.cell import CellRecord


def test_sentences() -> None:
    entry = {"fixed": ["s[a]", "s[b]", "s[c]", "t[a]"], "regressed": [], "unchanged": ["t[b]"]}
    assert str(sentence("x/y/v5/1", entry)) == (
        "x/y/v5/1 fixes s (all 3), t[a]; breaks nothing; leaves 1 of 5 sessions as with none."
    )
    entry = {"fixed": [], "regressed": ["s[a]", "s[b]", "s[c]", "t"], "unchanged": ["s[d]"]}
    assert str(sentence("x/y/v5/1", entry)) == (
        "x/y/v5/1 fixes nothing; breaks s (3 of 4), t; leaves 1 of 5 sessions as with none."
    )
    entry = {"fixed": [], "regressed": [], "unchanged": ["t"]}
    assert str(sentence("x/y/v6/2", entry)) == "x/y/v6/2 changes nothing: 1 session as with none."
    entry = {"fixed": [], "regressed": [], "unchanged": []}
    assert str(sentence("x/y/v6/2", entry)) == (
        "x/y/v6/2 has nothing to compare with none: no session has a verdict on both."
    )


def test_a_clause_says_which_list_of_the_verdict_it_tells_of() -> None:
    """Whatever the names are: a report must not need to read them."""
    entry = {"fixed": ["nothing; breaks[x; fixes y]"], "regressed": [], "unchanged": []}
    assert sentence("a: b/c/v5/1", entry).clauses == (
        Clause("fixes", "nothing; breaks[x; fixes y]", "fixed"),
        Clause("breaks", "nothing"),
        Clause("leaves", "0 of 1 session as with none", "unchanged"),
    )


def repeated(variant: str, name: str, *words: str) -> list[CellRecord]:
    """Make the repeats of a cell."""
    return [a_cell(variant, name, word, repeat=number) for number, word in enumerate(words, 1)]


def test_what_varies_on_either_side_is_said_with_its_chance() -> None:
    cells = repeated("none", "s", *["stuck"] * 12, *["pass"] * 8)
    cells += repeated("none", "t", *["stuck"] * 20) + repeated("none", "u", "stuck")
    cells += repeated("v5/1", "s", *["pass"] * 20) + repeated("v5/1", "u", "pass")
    cells += repeated("v5/1", "t", *["pass"] * 20)
    (line,) = sentences(cells)
    assert str(line) == (
        "debian:6.1/base/v5/1 fixes s, t, u; breaks nothing; leaves 0 of 3 sessions as with none."
        " s passes 100% (84-100), with none 40% (22-61), p = 4.5e-05."
    )
