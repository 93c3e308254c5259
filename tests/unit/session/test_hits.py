# SPDX-License-Identifier: GPL-2.0-only
"""Hits against the true number."""

from __future__ import annotations

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.session.hits import must_be_exact, must_not_be_missed


def test_as_many_hits_as_are_due_are_right() -> None:
    must_be_exact(3, 3, "calls")
    must_not_be_missed(4, 3, "calls")
    must_be_exact(8, 10, "calls", 0.8)


@pytest.mark.parametrize(
    ("hits", "due", "signature"),
    [(2, 3, Signature.MISSED_HITS), (4, 3, Signature.DOUBLE_HITS), (1, 0, Signature.DOUBLE_HITS)],
)
def test_another_number_is_a_fault(hits: int, due: int, signature: Signature) -> None:
    with pytest.raises(KernelFault) as caught:
        must_be_exact(hits, due, "calls")
    assert caught.value.signature is signature


@pytest.mark.parametrize("due", [0, -1])
def test_where_nothing_is_due_there_is_no_verdict(due: int) -> None:
    with pytest.raises(MachineryError, match="no calls"):
        must_not_be_missed(0, due, "calls")
