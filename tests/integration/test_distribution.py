# SPDX-License-Identifier: GPL-2.0-only
"""A distribution's own configuration, from its own package, built whole and stepped."""

from __future__ import annotations

import lzma
from typing import TYPE_CHECKING

import pytest

from kstep.base.cache import Cache
from kstep.source import debian
from tests.integration.command import Verify

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.run.preparation import Prepared

pytestmark = [pytest.mark.kernel, pytest.mark.nightly]

PACKAGE, SUITE = "linux-config-6.1", "bookworm"
CONFIG = "usr/src/linux-config-6.1/config.arm64_none_arm64.xz"
# A kernel of several thousand objects, with debug information: an hour on two cores.
LONG = 4 * 3600.0


def test_debian_s_configuration_is_built_to_its_end(tmp_path: Path, prepared: Prepared) -> None:
    """It must be the kernel that Debian's .config asks for, and fail and pass as base does."""
    package = debian.fetch(PACKAGE, SUITE, prepared.toolchain, Cache.default())
    unpacked = tmp_path / "package"
    unpacked.mkdir()
    debian.unpack(package, prepared.toolchain.own(unpacked), prepared.toolchain)
    config = tmp_path / "debian.config"
    config.write_bytes(lzma.decompress((unpacked / CONFIG).read_bytes()))
    with Verify(
        tmp_path,
        f"--kconfig={config}",
        "--variants=none,v6/1+2",
        "--sessions=step-in-order,continue-past-breakpoint,kgdbts",
    ) as going:
        run = going.wait(LONG)
    assert run.status == 0, run.said
    assert {cell["matched"] for cell in run.results["cells"]} == {True}
    lost = [each["why"] for each in run.results["left_out"]]
    assert any("modules, which kstep does not build" in why for why in lost)
