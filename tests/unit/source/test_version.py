# SPDX-License-Identifier: GPL-2.0-only
"""Versions, and which of them a span holds."""

from __future__ import annotations

import pytest

from kstep.source.version import Span, number


@pytest.mark.parametrize(
    ("text", "found"),
    [("6.1.192", (6, 1)), ("7.2-rc3 (commit abc)", (7, 2)), ("next", (0, 0)), ("6.12", (6, 12))],
)
def test_a_version_is_known_by_its_first_two_numbers(text: str, found: tuple[int, int]) -> None:
    assert number(text) == found


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        ("from 5.18", ["5.18", "6.1.192", "7.2"], ["5.17.15"]),
        ("up to 6.9", ["5.10", "6.9.12"], ["6.10", "7.0"]),
        ("from 5.18 up to 6.1", ["5.18.1", "6.1.192"], ["5.17", "6.2"]),
    ],
)
def test_both_ends_are_part_of_a_span(span: str, inside: list[str], outside: list[str]) -> None:
    found = Span.parse(span)
    assert found is not None
    assert all(found.holds(version) for version in inside)
    assert not any(found.holds(version) for version in outside)


@pytest.mark.parametrize("text", ["", "5.18", "since 5.18", "from 5", "from 5.18 to 6.1", "free"])
def test_what_is_no_span_is_none(text: str) -> None:
    assert Span.parse(text) is None
