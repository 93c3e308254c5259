# SPDX-License-Identifier: GPL-2.0-only
"""The same inputs give the same kernel: in any folder, by the tools of host and container.

And with the objects of another variant, of which few are compiled again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.toolchain import apt
from tests.integration.command import ROOT, verify

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

pytestmark = [pytest.mark.kernel, pytest.mark.nightly]  # two full builds, without a cache

QUICK = "--sessions=continue-past-breakpoint[vfs_mkdir]"
FEW = 60  # objects; the header that patch 2 changes is included by 221 of 6.1
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
            QUICK,
        )
        assert run.status == 0, run.said
        (kernel,) = (each for each in run.results["kernels"] if each["variant"] == "v6/1+2")
        assert not kernel["cached"], run.said
        kernels.append((kernel["vmlinux_sha256"], kernel["image_sha256"], kernel["config_sha256"]))
    assert kernels[0] == kernels[1]


@pytest.mark.parametrize("reviewed", [False, True])
def test_a_declaration_more_or_less_gives_the_same_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, reviewed: bool
) -> None:
    """As a build from nothing; patches under review are built apart, and their order differs."""
    series = str(_copied(tmp_path)) if reviewed else "v6"
    name = "mine" if reviewed else "v6"
    kernels: list[dict[str, dict[str, Any]]] = []
    for variants in (f"{name}/1,{name}/1+2", f"{name}/1+2,{name}/1", f"{name}/1+2"):
        folder = tmp_path / str(len(kernels))
        folder.mkdir()
        monkeypatch.setenv("KSTEP_CACHE", str(folder / "cache"))
        run = verify(folder, f"--series={series}", f"--variants={variants}", QUICK)
        kernels.append({each["variant"]: each for each in run.results["kernels"]})
    there, back, anew = kernels
    with_it, without = f"{name}/1+2", f"{name}/1"
    assert 0 < there[with_it]["objects_compiled"] < FEW
    assert 0 < back[without]["objects_compiled"] < FEW
    assert _image(there[with_it]) == _image(back[with_it]) == _image(anew[with_it])
    assert _image(there[without]) == _image(back[without])


def _copied(folder: Path) -> Path:
    """Return a copy of v6 that is not kstep's own, so that it is built apart."""
    patches = sorted((ROOT / "patches/v6").glob("*.patch"))
    mbox = folder / "mine.mbox"
    mbox.write_text("".join(f"From x Mon Sep 17 00:00:00 2001\n{p.read_text()}\n" for p in patches))
    return mbox


def _image(kernel: dict[str, Any]) -> str:
    """Return its hash; the debug information in a vmlinux may differ by a few bytes."""
    return str(kernel["image_sha256"])
