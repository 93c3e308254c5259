# SPDX-License-Identifier: GPL-2.0-only
"""The packages of this machine do what the container does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.toolchain import apt
from tests.integration.command import ROOT, verify

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kernel

MISSING = apt.missing((ROOT / "docker/packages.txt").read_text().split())


@pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {' '.join(MISSING)}")
def test_the_host_toolchain_comes_to_the_same(tmp_path: Path) -> None:
    run = verify(
        tmp_path,
        "--toolchain=host",
        "--variants=v6/1+2",
        "--sessions=continue-past-breakpoint",
    )
    assert run.status == 0, run.said
    assert run.results["toolchain"]["kind"] == "host"
    assert run.results["toolchain"]["image_digest"] is None
    assert {cell["outcome"] for cell in run.cells("v6/1+2")} == {"pass"}
