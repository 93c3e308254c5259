# SPDX-License-Identifier: GPL-2.0-only
"""The same inputs give the same kernel: in any folder, by the tools of host and container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.toolchain import apt
from tests.integration.command import ROOT, verify

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.nightly]  # two full builds, without a cache

MISSING = apt.missing((ROOT / "docker/packages.txt").read_text().split())


@pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {' '.join(MISSING)}")
def test_two_builds_come_to_the_same_vmlinux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = []
    for toolchain in ("host", "docker"):
        (tmp_path / toolchain).mkdir()
        monkeypatch.setenv("KSTEP_CACHE", str(tmp_path / toolchain / "cache"))
        run = verify(
            tmp_path / toolchain,
            f"--toolchain={toolchain}",
            "--series=v6",
            "--variants=v6/1+2",
            "--sessions=continue-past-breakpoint[vfs_mkdir]",
        )
        assert run.status == 0, run.said
        (kernel,) = (each for each in run.results["kernels"] if each["variant"] == "v6/1+2")
        assert not kernel["cached"], run.said
        kernels.append((kernel["vmlinux_sha256"], kernel["image_sha256"], kernel["config_sha256"]))
    assert kernels[0] == kernels[1]
