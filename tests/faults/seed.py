# SPDX-License-Identifier: GPL-2.0-only
"""Seeds of injections: a few run by default, the others in the nightly set."""

from __future__ import annotations

import pytest


def seeds(count: int, sample: int = 1) -> pytest.MarkDecorator:
    """Give a test ``count`` seeds, of which it runs ``sample`` by default."""
    return pytest.mark.parametrize(
        "seed",
        [
            pytest.param(n, marks=() if n < sample else pytest.mark.nightly, id=f"seed{n}")
            for n in range(count)
        ],
    )
