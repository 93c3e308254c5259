# SPDX-License-Identifier: GPL-2.0-only
"""The files that an external machine boots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.build.initramfs import Initramfs
from kstep.build.kconfig import Kconfig
from kstep.build.kernel import Kernel
from kstep.hand import guest
from kstep.run.building import Built
from kstep.run.preparation import Prepared
from kstep.run.tools import Tools
from kstep.source.tree import Tree
from kstep.toolchain.accel import Accel
from tests.unit.fakeqemu import FakeToolchain

if TYPE_CHECKING:
    from pathlib import Path


def prepared(folder: Path, kernel: Kernel | MachineryError) -> Prepared:
    """Return one kernel, and the guest for it."""
    (folder / "initramfs").write_bytes(b"guest")
    tree = Tree("debian:6.1", "6.1", "", folder)
    return Prepared(
        tools=(Tools("", FakeToolchain(folder), {}, Initramfs(folder / "initramfs", "", "", "")),),
        accel=Accel.TCG,
        trees=(tree,),
        built=(Built(tree, Kconfig("base", {}), (), kernel),),
    )


def test_what_it_boots_is_there(tmp_path: Path) -> None:
    (tmp_path / "Image").write_bytes(b"kernel")
    kernel = Kernel("k", tmp_path, True, "", "", "", 0.0, 0)  # noqa: FBT003 -- it is at hand
    out = tmp_path / "new" / "out"
    guest.write(prepared(tmp_path, kernel), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "Image": b"kernel",
        "initramfs.cpio.gz": b"guest",
        "cmdline": b"console=ttyAMA0 kgdboc=ttyAMA0 nokaslr\n",
    }


def test_of_a_kernel_that_does_not_build_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(MachineryError, match=r"^no compiler$"):
        guest.write(prepared(tmp_path, MachineryError("no compiler")), tmp_path / "out")
    assert not (tmp_path / "out").exists()
