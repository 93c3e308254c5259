# SPDX-License-Identifier: GPL-2.0-only
"""What a variant fixes and breaks, in counts, by area, and in numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kstep.report.area import ORDER, rank
from kstep.report.effect import Effect, effects
from kstep.results.provenance import SessionRecord
from kstep.session import session
from tests.unit.results.material import a_cell, a_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kstep.results.cell import CellRecord

NOWHERE = Path("/nonexistent")
ROOT = Path(__file__).parents[3]


def effects_of(*cells: CellRecord, **areas: str) -> list[Effect]:
    """Tell the effects in a run whose sessions state these areas."""
    record = a_record(NOWHERE, *cells)
    record.sessions = {name: SessionRecord(name, "", "", "", 1, a) for name, a in areas.items()}
    return effects(record)


def both(
    name: str,
    before: str,
    after: str,
    **more: Any,  # noqa: ANN401 -- as a_cell takes it
) -> list[CellRecord]:
    """Make a test on the unpatched kernel and on v5/1."""
    return [a_cell("none", name, before, **more), a_cell("v5/1", name, after, **more)]


def test_counts_are_by_area_in_the_order_of_areas() -> None:
    cells = [
        *both("k", "pass", "panic"),
        *both("k2", "pass", "pass"),
        *both("s[a]", "stuck", "pass"),
        *both("s[b]", "stuck", "rehit"),
        *both("g", "rehit", "pass"),
    ]
    (effect,) = effects_of(*cells, k="kdb and gdb", k2="kdb and gdb", s="steps", g="resuming (go)")
    assert effect.label == "v5/1"
    assert effect.lines == [
        "fixes 2 of 3 failing tests: steps 1 of 2; resuming (go) 1 of 1",
        "breaks 1 of 2 passing tests: kdb and gdb 1 of 2: k",
        "2 of 5 tests unchanged from the unpatched kernel; 1 of these fail on both",
    ]


def test_sessions_without_an_area_are_named_themselves() -> None:
    """As are all of a run that was made before sessions stated one."""
    cells = [each for case in "abcd" for each in both(f"s[{case}]", "stuck", "pass")]
    cells += [*both("s[e]", "stuck", "stuck"), *both("t[x]", "stuck", "pass")]
    (effect,) = effects_of(*cells, *both("u", "pass", "pass"))
    assert effect.lines[0] == "fixes 5 of 6 failing tests: s (4 of 5), t[x]"
    (share,) = effect.fixes
    assert share.names == ("s[a]", "s[b]", "s[c]", "s[d]", "t[x]")


def test_what_changes_nothing_is_one_line() -> None:
    (effect,) = effects_of(*both("s", "stuck", "rehit"), *both("t", "pass", "pass"))
    assert effect.lines == [
        "changes nothing: 2 tests unchanged from the unpatched kernel; 1 of these fail on both"
    ]


def test_without_the_unpatched_kernel_there_is_nothing_to_compare_with() -> None:
    (effect,) = effects_of(a_cell("v5/1", seen="stuck"))
    assert effect.alone
    assert effect.lines == ['nothing to compare with: the unpatched kernel ("none") was not run']
    (effect,) = effects_of(*both("s", "no-boot", "pass"))
    assert not effect.alone
    assert effect.lines == ["nothing to compare with: no test has a verdict on both kernels"]


def test_a_run_of_the_unpatched_kernel_alone_has_no_effects() -> None:
    assert effects_of(a_cell("none")) == []


def test_several_trees_are_told_apart() -> None:
    cells = [*both("s", "stuck", "pass"), *both("s", "pass", "pass", tree="path:/x")]
    assert [each.label for each in effects_of(*cells)] == [
        "debian:6.1/base/v5/1",
        "path:/x/base/v5/1",
    ]


def test_what_varies_is_said_with_its_chance() -> None:
    cells = [
        a_cell("none", "s", seen, repeat=n) for n, seen in enumerate(["stuck"] * 12 + ["pass"] * 8)
    ]
    cells += [a_cell("v5/1", "s", repeat=n) for n in range(20)]
    (effect,) = effects_of(*cells)
    assert effect.lines[-1] == "s passes 100% (84-100), unpatched 40% (22-61), p = 4.5e-05."


def counted(before: Mapping[str, object], after: Mapping[str, object], *more: CellRecord) -> str:
    """Tell the figure of a test that is fixed, with such metrics."""
    none, patched = both("s", "stuck", "pass")
    cells = replace(none, metrics=before), replace(patched, metrics=after)
    (effect,) = effects_of(*cells, *more, s="steps", t="steps")
    (share,) = effect.fixes
    return share.figure


def test_the_number_that_tells_is_said() -> None:
    assert counted({"steps": 4, "in_order": 0}, {"steps": 1300, "in_order": 1300}) == (
        "steps in order: 1,300 of 1,300; unpatched 0 of 4"
    )
    assert counted({"hits": 9, "calls": 7}, {"hits": 7, "calls": 7}) == (
        "hits counted: 7 of 7; unpatched 9 of 7"
    )
    assert counted({"hits": 9, "due": 7, "calls": 1}, {"hits": 7, "due": 7}) == (
        "hits counted: 7 of 7; unpatched 9 of 7"
    )
    beside = "woken_beside_kernel"
    assert counted({beside: 6}, {beside: 990, "woken_watched": 40}) == "wake-ups: 40; unpatched 6"


def test_a_number_that_does_not_tell_is_not_said() -> None:
    for before, after in (
        ({}, {"steps": 3, "in_order": 3}),
        ({"steps": 0, "in_order": 0}, {"steps": 3, "in_order": 3}),
        ({"steps": "4", "in_order": True}, {"steps": 3, "in_order": 3}),
        ({"steps": 3, "in_order": 3}, {"steps": 3, "in_order": 3}),
        ({"hits": 3}, {"hits": 4}),
    ):
        assert counted(before, after) == ""


def test_the_number_is_of_the_tests_that_changed_so_and_of_all_repeats() -> None:
    """Those that have it on both sides."""
    metrics = {"steps": 10, "in_order": 10}
    other = both("t[same]", "stuck", "stuck", metrics=metrics)
    other += both("t[fixed]", "stuck", "pass")
    repeats = [
        a_cell("none", "t[again]", "stuck", repeat=n, metrics={"steps": 5, "in_order": 1})
        for n in (1, 2)
    ]
    repeats.append(a_cell("v5/1", "t[again]", metrics=metrics))
    found = counted({"steps": 4, "in_order": 0}, metrics, *other, *repeats)
    assert found == "steps in order: 20 of 20; unpatched 2 of 14"


def test_the_areas_of_our_sessions_are_those_that_reports_order() -> None:
    """A word that is spelt in two ways would be two areas."""
    stated = {each.area for each in session.load(ROOT / "tests/sessions").values()}
    assert stated == {*ORDER}
    assert sorted(["", "zfs", "user space", "steps"], key=rank) == [
        "steps",
        "user space",
        "zfs",
        "",
    ]
