# SPDX-License-Identifier: GPL-2.0-only
"""The files that an external machine must boot."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.run.preparation import Prepared


def write(prepared: Prepared, folder: Path) -> None:
    """Write a new ``folder`` with the one kernel, the guest and the kernel's command line."""
    kernel = prepared.built[0].require()
    folder.mkdir(parents=True)
    shutil.copyfile(kernel.image, folder / "Image")
    shutil.copyfile(prepared.initramfs.path, folder / "initramfs.cpio.gz")
    (folder / "cmdline").write_text("console=ttyAMA0 kgdboc=ttyAMA0 nokaslr\n")
