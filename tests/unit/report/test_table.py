# SPDX-License-Identifier: GPL-2.0-only
"""The table on the terminal, as rich renders it."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from kstep.base.outcome import Signature
from kstep.report.table import LEGEND, MARKS, SHORT, mark, table
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    import pytest

    from kstep.results.cell import CellRecord

NOWHERE = Path("/nonexistent")
VARIANTS = ["none", "v5/1", "v5/2", "v5/1+2", "v6/1", "v6/2", "v6/1+2"]
FUNCTIONS = ["get_avenrun", "vprintk_emit", "__arm64_sys_getpid", "do_sys_openat2"]


def drawn(width: int, *cells: CellRecord, colour: bool = False) -> str:
    """Render the table as a terminal of that width shows it."""
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=colour, color_system="standard" if colour else None
    )
    console.print(table(a_record(NOWHERE, *cells), width))
    return out.getvalue()


def lines_of(text: str, width: int) -> list[str]:
    """Split into lines, none of them too long, nothing cut."""
    assert "…" not in text
    assert all(cell_len(line) <= width for line in text.splitlines())
    return text.splitlines()


def below(session: str, lines: list[str]) -> list[list[str]]:
    """Return the rows of a session's cases, in words: what is indented below its name."""
    start = next(n for n, line in enumerate(lines) if line.rstrip() == session)
    rows = itertools.takewhile(lambda line: line.startswith("  "), lines[start + 1 :])
    return [row.split() for row in rows]


def a_run(repeats: int = 1) -> list[CellRecord]:
    """Seven variants and three sessions, with every mark among them."""
    words = [("masked-interrupts", "masked-interrupts"), ("pass", "pass"), ("stuck", "pass")]
    words += [("pass", "rehit"), ("infrastructure", "pass"), ("rehit", "rehit"), ("splat", "pass")]
    return [
        a_cell(variant, f"{session}[{function}]", *word, repeat=repeat)
        for variant, word in zip(VARIANTS, words, strict=True)
        for session in ("step-in-order", "continue-past-breakpoint", "step-then-continue")
        for function in FUNCTIONS
        for repeat in range(1, repeats + 1)
    ]


def test_seven_variants_fit_80_columns_side_by_side() -> None:
    lines = lines_of(drawn(80, *a_run()), 80)
    heading, variants, *_ = lines
    assert heading == "debian:6.1, kconfig base"
    assert variants.split() == VARIANTS
    (row,) = below("continue-past-breakpoint", lines)
    assert row == [
        *("all", "4", "cases"),
        "(mask)",
        "pass",
        "stuck!",
        "pass!",
        "?infra",
        "(rehit)",
        "splat!",
    ]
    assert sum(line.startswith("  all 4 cases ") for line in lines) == 3


def test_cases_that_differ_in_one_variant_have_a_line_each() -> None:
    cells = [a_cell("none", f"s[{case}]") for case in "ab"]
    cells += [a_cell("v5/1", "s[a]"), a_cell("v5/1", "s[b]", "stuck", "stuck")]
    assert below("s", lines_of(drawn(80, *cells), 80)) == [
        ["a", "pass", "pass"],
        ["b", "pass", "(stuck)"],
    ]


def test_the_legend_tells_what_the_marks_mean_and_only_those() -> None:
    text = " ".join(drawn(80, *a_run()).split())
    assert LEGEND in text
    assert "infra = infrastructure, mask = masked-interrupts." in text
    assert "no-boot" not in text


def test_the_verdict_stands_below() -> None:
    text = " ".join(drawn(80, *a_run()).split())
    assert text.index("masked-interrupts.") < text.index("v5/1 fixes")
    assert "v6/2 changes nothing: 12 tests unchanged from the unpatched kernel; 12" in text


def test_repeats_are_counted_where_they_differ() -> None:
    cells = [a_cell("none", "s[a]", repeat=number) for number in range(1, 21)]
    cells += [a_cell("v5/1", "s[a]", "stuck", "stuck", repeat=number) for number in range(1, 20)]
    cells += [a_cell("v5/1", "s[a]", "rehit", "stuck", repeat=20)]
    cells += [a_cell("v5/2", "s[a]", repeat=number) for number in range(1, 4)]
    lines = lines_of(drawn(100, *cells), 100)
    assert "debian:6.1, kconfig base, 20 repeats" in lines
    assert below("s", lines) == [
        ["a", "pass", "(stuck)", "x19", "pass", "x3"],
        ["rehit!", "x1"],
    ]


def test_twenty_repeats_fit_80_columns() -> None:
    cells = [each for each in a_run(20) if each.cell.repeat < 20]
    cells += [a_cell(v, f"step-in-order[{FUNCTIONS[0]}]", "panic", repeat=20) for v in VARIANTS]
    lines = lines_of(drawn(80, *cells), 80)
    assert VARIANTS in [line.split() for line in lines]
    assert {"(mask)", "?infra", "panic!", "x19", "x1", "95%", "(76-99)"} <= {
        word for line in lines for word in line.split()
    }


def test_a_session_without_cases_has_its_marks_beside_it() -> None:
    lines = lines_of(drawn(80, a_cell("none", "perf"), a_cell("v5/1", "kgdbts")), 80)
    rows = [line.split() for line in lines if line.startswith(("kgdbts", "perf"))]
    assert rows == [["kgdbts", "-", "pass"], ["perf", "pass", "-"]]


def test_each_tree_and_kconfig_has_its_own_table() -> None:
    cells = [a_cell(), a_cell(kconfig="old"), a_cell(tree="path:/home/[bold]me")]
    headings = [line for line in lines_of(drawn(80, *cells), 80) if "kconfig" in line]
    assert headings == [
        "debian:6.1, kconfig base",
        "debian:6.1, kconfig old",
        "path:/home/[bold]me, kconfig base",
    ]


def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in drawn(80, *a_run(), colour=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", drawn(80, *a_run(), colour=True))


def test_marks_are_short_and_not_mistaken_for_another() -> None:
    marks = [mark(a_cell(seen=seen, wanted=seen)) for seen in ("pass", *Signature)]
    assert max(map(len, marks)) <= MARKS
    assert len(set(marks)) == len(marks)
    words = [SHORT.get(signature, signature) for signature in Signature]
    assert len(set(words)) == len(words)


def test_a_run_without_cells_has_a_table_of_nothing() -> None:
    assert LEGEND.split()[0] in drawn(80)


name = st.text(st.characters(), min_size=1, max_size=60)


@given(
    st.integers(30, 200), st.lists(st.tuples(name, name, st.sampled_from(Signature)), max_size=9)
)
def test_no_width_and_no_name_makes_it_cut(width: int, drawn_cells: list[tuple[str, ...]]) -> None:
    cells = [a_cell(*(text.replace("…", "") for text in each)) for each in drawn_cells]
    text = drawn(width, *cells)
    lines_of(text, width)
    assert all(mark(cell) in text for cell in a_record(NOWHERE, *cells).cells)


def test_a_fault_of_the_unpatched_kernel_too_is_marked_so() -> None:
    """Without an expectation; a fault that the unpatched kernel has not is not as it should be."""
    cells = [
        a_cell(variant, name, seen, held=True)
        for name, none, mine in (("a", "stuck", "rehit"), ("b", "pass", "rehit"))
        for variant, seen in (("none", none), ("mine/1", mine))
    ]
    text = drawn(80, *cells)
    assert re.search(r"^a +stuck= +rehit= *$", text, re.MULTILINE)
    assert re.search(r"^b +pass +rehit! *$", text, re.MULTILINE)
    assert "fault=: no expectation; the unpatched kernel fails too" in " ".join(text.split())
