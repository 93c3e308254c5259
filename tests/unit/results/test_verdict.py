# SPDX-License-Identifier: GPL-2.0-only
"""What the patches changed, and the exit status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.results.rate import Rate
from kstep.results.verdict import chances, exit_status, order, verdict
from tests.unit.results.material import a_cell

COLUMN = "debian:6.1/base/v5/1"


@pytest.mark.parametrize(
    ("none", "patched", "where"),
    [
        (["stuck"], ["pass"], "fixed"),
        (["pass"], ["stuck"], "regressed"),
        (["pass"], ["pass"], "unchanged"),
        (["stuck"], ["stuck"], "unchanged"),
        (["stuck"], ["rehit"], "unchanged"),  # another fault, but a fault
        (["pass", "stuck"], ["pass", "pass"], "fixed"),
        (["pass", "pass"], ["pass", "stuck"], "regressed"),
        (["pass", "stuck"], ["stuck", "stuck"], "unchanged"),
        (["no-boot"], ["pass"], None),
        (["pass"], ["no-boot"], None),
        (["stuck"], ["pass", "no-boot"], None),
        (["pass", "no-boot"], ["pass"], None),
        (["stuck", "no-boot"], ["pass"], "fixed"),  # a failure is a failure, whatever else
        (["pass"], ["no-boot", "stuck"], "regressed"),
        ([], ["pass"], None),
        (["pass"], [], None),
    ],
)
def test_one_name(none: list[str], patched: list[str], where: str | None) -> None:
    cells = [a_cell("none", "other"), a_cell("v5/1", "other")]
    cells += [a_cell("none", "s[x]", seen, repeat=n) for n, seen in enumerate(none, 1)]
    cells += [a_cell("v5/1", "s[x]", seen, repeat=n) for n, seen in enumerate(patched, 1)]
    entry = verdict(cells)[COLUMN]
    assert [kind for kind, names in entry.items() if "s[x]" in names] == ([where] if where else [])
    assert list(entry) == ["fixed", "regressed", "unchanged"]


@pytest.mark.parametrize(
    ("none_died", "died", "where"),
    [
        (False, True, "regressed"),
        (True, True, "unchanged"),
        (True, False, "unchanged"),  # better, but nothing that works
    ],
)
def test_a_death_at_boot_is_worse_than_another_failure(
    none_died: bool,  # noqa: FBT001 -- a row
    died: bool,  # noqa: FBT001 -- likewise
    where: str,
) -> None:
    cells = [
        a_cell("none", "s[x]", "panic", died_at_boot=none_died),
        a_cell("v5/1", "s[x]", "panic", died_at_boot=died),
    ]
    entry = verdict(cells)[COLUMN]
    assert [kind for kind, names in entry.items() if names] == [where]


def test_expectations_play_no_part() -> None:
    cells = [a_cell("none", seen="stuck", wanted="stuck"), a_cell("v5/1", wanted="stuck")]
    assert verdict(cells)[COLUMN]["fixed"] == ["step-in-order[up_read]"]


def test_only_what_can_be_compared_has_an_entry() -> None:
    assert verdict([]) == {}
    assert verdict([a_cell("none")]) == {}
    assert verdict([a_cell("v5/1"), a_cell("v5/2")]) == {}
    # the none of another tree or kconfig is no base
    assert verdict([a_cell("v5/1"), a_cell("none", tree="path:/x")]) == {}
    assert verdict([a_cell("v5/1"), a_cell("none", kconfig="old")]) == {}


def test_variants_stand_in_the_order_in_which_people_name_them() -> None:
    variants = ["v6/1", "v5/1+2", "v5/10", "none", "v5/2", "v5/1"]
    assert sorted(variants, key=order) == ["none", "v5/1", "v5/2", "v5/10", "v5/1+2", "v6/1"]
    assert [key.removeprefix("debian:6.1/base/") for key in verdict(map(a_cell, variants))] == [
        "v5/1",
        "v5/2",
        "v5/10",
        "v5/1+2",
        "v6/1",
    ]


@pytest.mark.parametrize(
    ("cells", "status"),
    [
        ([], 3),
        ([("pass", None)], 0),
        ([("stuck", "stuck"), ("pass", "pass")], 0),
        ([("stuck", None)], 1),
        ([("pass", "stuck")], 1),
        ([("rehit", "stuck")], 1),
        ([("pass", None), ("no-boot", None)], 3),
        ([("no-boot", "stuck")], 3),
        ([("no-boot", None), ("stuck", None)], 1),
    ],
)
def test_exit_status(cells: list[tuple[str, str | None]], status: int) -> None:
    made = [
        a_cell(seen=seen, wanted=wanted, repeat=n + 1) for n, (seen, wanted) in enumerate(cells)
    ]
    assert exit_status(made) == status


def test_what_varies_on_either_side_has_its_rates() -> None:
    words = {"none": ["stuck"] * 12 + ["pass"] * 8, "v5/1": ["pass"] * 20}
    cells = [
        a_cell(v, "s", w, repeat=n) for v, seen in words.items() for n, w in enumerate(seen, 1)
    ]
    cells += [a_cell("none", "t", "stuck"), a_cell("v5/1", "t")]
    (found,) = chances(cells)[COLUMN]
    assert (found.name, found.before, found.after) == ("s", Rate(8, 20), Rate(20, 20))
    assert found.p == pytest.approx(4.5e-05, rel=0.01)


def test_a_chance_needs_a_verdict_on_both_sides() -> None:
    cells = [a_cell("none", "s", "no-boot"), a_cell("v5/1", "s")]
    assert chances([*cells, a_cell("v5/1", "s", "stuck", repeat=2)])[COLUMN] == []


seen = st.sampled_from(["pass", "stuck", "rehit", "no-boot"])


@given(st.lists(st.tuples(st.sampled_from(["none", "v5/1"]), st.sampled_from("abc"), seen)))
def test_fixed_and_regressed_are_each_other_seen_from_the_other_side(
    drawn: list[tuple[str, str, str]],
) -> None:
    cells = [a_cell(*each, repeat=number) for number, each in enumerate(drawn, 1)]
    swapped = [
        a_cell("v5/1" if variant == "none" else "none", name, word, repeat=number)
        for number, (variant, name, word) in enumerate(drawn, 1)
    ]
    if len({variant for variant, *_ in drawn}) == 2:
        one, other = verdict(cells)[COLUMN], verdict(swapped)[COLUMN]
        assert one["fixed"] == other["regressed"]
        assert one["regressed"] == other["fixed"]
        assert one["unchanged"] == other["unchanged"]
