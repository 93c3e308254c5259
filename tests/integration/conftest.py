# SPDX-License-Identifier: GPL-2.0-only
"""What the tests that boot kernels share: the toolchain, the tree and built kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.cache import Cache
from kstep.base.progress import Progress
from kstep.run import preparation, request
from tests.integration.command import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.run.preparation import Prepared


@pytest.fixture(scope="session")
def prepared() -> Prepared:
    """Prepare v6/1+2 as verify does."""
    asked = request.look_up(
        ROOT, series_specs=["v6"], tree_specs=["debian:6.1"], variant_names=["v6/1+2"]
    )
    with Progress() as progress:
        return preparation.prepare(asked, "auto", Cache.default(), progress)


@pytest.fixture(scope="session")
def source(prepared: Prepared) -> Path:
    """Return the kernel's source as it was fetched."""
    return prepared.trees[0].source
