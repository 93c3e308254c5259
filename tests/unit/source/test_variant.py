# SPDX-License-Identifier: GPL-2.0-only
"""Which variants a series comes to, in each shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from kstep.base.errors import RequestError
from kstep.source import series
from kstep.source import variant as matrix
from kstep.source.series import Patch, Series
from kstep.source.variant import Variant

ROOT = Path(__file__).parents[3]


def made(name: str, count: int) -> Series:
    """Make a series of so many patches, of which only the numbers matter."""
    return Series(
        name,
        tuple(Patch(str(n), Path("x"), "x", b"", "", ()) for n in range(1, count + 1)),
        None,
    )


def names(shape: str, *which: Series) -> list[str]:
    """Name the variants that a matrix has."""
    return [variant.name for variant in matrix.variants(which, shape)]


def test_each_is_every_patch_alone_and_all_together() -> None:
    """A series of one has no more than the one; none is there once."""
    assert names("each", made("a", 3), made("b", 1)) == [
        "none",
        "a/1",
        "a/2",
        "a/3",
        "a/1+2+3",
        "b/1",
    ]


def test_prefixes_are_the_series_as_it_is_applied() -> None:
    assert names("prefixes", made("a", 3)) == ["none", "a/1", "a/1+2", "a/1+2+3"]


def test_subsets_are_all_that_there_are() -> None:
    assert names("subsets", made("a", 3)) == [
        "none",
        "a/1",
        "a/2",
        "a/3",
        "a/1+2",
        "a/1+3",
        "a/2+3",
        "a/1+2+3",
    ]


@pytest.mark.parametrize("shape", matrix.MATRICES)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_they_are_as_many_as_counted(shape: str, count: int) -> None:
    """The bound is known before any is made."""
    listed = names(shape, made("a", count))
    assert len(listed) == len(set(listed)) == 1 + matrix.COUNTS[shape](count)


def test_too_many_are_refused_before_any_is_made() -> None:
    """With what to do about it."""
    assert len(names("subsets", made("a", 5))) == 32
    with pytest.raises(RequestError) as caught:
        matrix.variants([made("a", 40), made("b", 2)], "subsets")
    assert str(caught.value) == (
        "--matrix subsets: 1099511627779 variants (patches: 40 in a, 2 in b) are more than 64;"
        " name those that matter with --variants, or use --matrix prefixes"
    )


def test_another_matrix_is_refused() -> None:
    with pytest.raises(RequestError, match="--matrix all: must be one of each, prefixes, subsets"):
        matrix.variants([made("a", 2)], "all")


def test_variants_of_a_matrix_can_be_named() -> None:
    which = [made("a", 3)]
    for variant in matrix.variants(which, "subsets"):
        assert matrix.parse(variant.name, which) == variant


@pytest.mark.parametrize("name", ["s/1+3", "s/3+1", "s/3+1+3"])
def test_any_subset_can_be_asked_for(name: str) -> None:
    """One variant has one name, however it was asked for."""
    loaded = made("s", 3)
    assert matrix.parse(name, [loaded]) == Variant("s/1+3", "s", ("1", "3"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v9/1", 'variant "v9/1" does not belong to a series of this run; did you mean "v5/1"?'),
        ("", 'variant "" does not belong to a series of this run; there are: none, v5/1, v5/2'),
        ("nonne", 'did you mean "none"?'),
        ("v5", 'variant "v5" does not belong to a series of this run; did you mean "v5/2"?'),
        ("v5/3", 'variant "v5/3": no patch "3"; there are: 1, 2'),
        ("v5/1+", 'variant "v5/1+": no patch ""; there are: 1, 2'),
    ],
)
def test_an_unknown_variant_is_told_with_those_there_are(name: str, message: str) -> None:
    """With the fix in the same line."""
    with pytest.raises(RequestError) as caught:
        matrix.parse(name, [series.load("v5", ROOT)])
    assert message in str(caught.value)


# -- by name


@pytest.mark.parametrize(
    ("named", "matrix_name", "found"),
    [
        ([], "", ["none", "a/1", "a/2", "a/1+2", "b/1"]),
        ([], "prefixes", ["none", "a/1", "a/1+2", "b/1"]),
        (["a/2", "none"], "", ["a/2", "none"]),
        (["a/*"], "", ["a/1", "a/2", "a/1+2"]),
        (["none", "?/1"], "", ["none", "a/1", "b/1"]),
        (["a/1", "a/*"], "", ["a/1", "a/2", "a/1+2"]),
        (["a/*"], "prefixes", ["a/1", "a/1+2"]),
    ],
)
def test_variants_are_selected_by_name_and_pattern(
    named: list[str], matrix_name: str, found: list[str]
) -> None:
    selected = matrix.select([made("a", 2), made("b", 1)], named, matrix_name)
    assert [each.name for each in selected] == found


@pytest.mark.parametrize(
    ("named", "matrix_name", "message"),
    [
        (["c/*"], "", "--variants c/*: matches no variant; there are: none, a/1, a/2, a/1+2, b/1"),
        (["a/1"], "each", "--matrix and --variants both select variants; remove one"),
        (["a/1+2", "a/2+1"], "", "--variants: a/1+2 is named twice; name it once"),
        (["a/*", "a/2", "a/2"], "", "--variants: a/2 is named twice; name it once"),
    ],
)
def test_what_selects_no_variant(named: list[str], matrix_name: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        matrix.select([made("a", 2), made("b", 1)], named, matrix_name)
    assert str(error.value) == message
