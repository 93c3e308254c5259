# SPDX-License-Identifier: GPL-2.0-only
"""A faulty serial line between kstep and an external machine: no verdict is wrong."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.command import ROOT
from tests.noise import campaign
from tests.noise.machine import NO_QEMU, has_qemu
from tests.noise.noise import Noise

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(not has_qemu(), reason=NO_QEMU)]

STEP, GO = "step-in-order", "continue-past-breakpoint"
RARE, OFTEN = 1 / 3000, 1 / 300
NOISES = {
    "lost to the guest": (Noise(lose=OFTEN), Noise()),
    "lost from the guest": (Noise(), Noise(lose=RARE)),
    "lost both ways": (Noise(lose=RARE), Noise(lose=RARE)),
    "lost often both ways": (Noise(lose=OFTEN), Noise(lose=OFTEN)),
    "doubled": (Noise(double=OFTEN), Noise(double=1 / 1000)),
    "changed": (Noise(change=OFTEN), Noise(change=1 / 2000)),
    "in bursts": (Noise(lose=1 / 1000, burst=6), Noise(lose=RARE, burst=12)),
}
SPARED = {"lost both ways": 0.95}  # the share of cells that must get a verdict
INJECTIONS = 500  # cells, over all noises and kernels


def boot(scratch: Path, variant: str) -> Path:
    """Write what the machine boots."""
    folder = scratch / "boot"
    command = [str(ROOT / "inv"), "guest", f"--variant={variant}", f"--out={folder}"]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize("variant", ["v6/1+2", "none"])
def test_a_good_kernel_passes_and_a_bad_one_fails(tmp_path: Path, variant: str) -> None:
    to, back = NOISES["lost both ways"]
    found = campaign.run(boot(tmp_path, variant), tmp_path, variant, GO, (to, back), seed=3)
    assert found.faults, "the line was not faulty"
    assert not found.false
    assert len(found.lost) < found.cells


@pytest.mark.nightly
@pytest.mark.parametrize("variant", ["v6/1+2", "none", "v6/2"])
def test_injections_counted_from_seeds(tmp_path: Path, variant: str) -> None:
    folder = boot(tmp_path, variant)
    cells = 0
    for seed in range(INJECTIONS):
        for name, noise in NOISES.items():
            number = len(NOISES) * seed + list(NOISES).index(name)
            found = campaign.run(
                folder, tmp_path, variant, f"{STEP},{GO},step-then-continue", noise, seed=number
            )
            cells += found.cells
            assert not found.false, f"{name}, seed {number}"
            spared = found.cells - len(found.lost)
            assert spared >= SPARED.get(name, 0) * found.cells - 1, f"{name}: {found.lost}"
        if cells >= INJECTIONS / 3:
            return
