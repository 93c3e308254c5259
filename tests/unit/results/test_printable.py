# SPDX-License-Identifier: GPL-2.0-only
"""Text that any report can show."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kstep.results.printable import printable


def test_printable_shows_what_it_takes_out() -> None:
    assert printable("a\r\nb\tc\x1b[0m\0é\u202e\ud800\uffff😀") == (
        "a\nb\tc\\x1b[0m\\x00é\\u202e\\ud800\\uffff😀"
    )


@given(st.text(st.characters()))
def test_printable_is_writable_and_stays_as_it_is(text: str) -> None:
    once = printable(text)
    once.encode("utf-8")
    assert printable(once) == once
