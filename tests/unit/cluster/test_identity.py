# SPDX-License-Identifier: GPL-2.0-only
"""What two machines must have in common, and how what differs is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from kstep.cluster.identity import Identity
from kstep.toolchain import HostToolchain, Versions

ROOT = Path(__file__).parents[3]


class Tools(HostToolchain):
    """A toolchain of a release."""

    debian = "bookworm"


def identity(root: Path, emulator: str = "qemu 7.2") -> Identity:
    """Identify a kstep, with an emulator."""
    return Identity.of(root, Tools("a test"), Versions("gcc 12", "ld 2.40", emulator, "gdb 13"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make the code of a kstep."""
    (tmp_path / "kstep/run").mkdir(parents=True)
    (tmp_path / "kstep/run/runner.py").write_text("1\n")
    (tmp_path / "README.md").write_text("1\n")
    return tmp_path


def test_it_is_read_as_it_is_written(root: Path) -> None:
    found = identity(root)
    assert Identity.parse(str(found)) == found
    assert found.differs(found) == ""
    assert Identity.parse("GPU") is None
    assert Identity.parse("kstep:1") is None


def test_other_code_is_another_kstep(root: Path) -> None:
    before = identity(root)
    (root / "README.md").write_text("2\n")
    (root / "kstep/__pycache__").mkdir()
    (root / "kstep/__pycache__/runner.pyc").write_text("2\n")
    assert identity(root) == before
    (root / "kstep/run/runner.py").write_text("2\n")
    assert "has another kstep" in before.differs(identity(root))


def test_other_tools_are_named(root: Path) -> None:
    found = identity(root)
    assert "has another QEMU, gdb or suite" in found.differs(identity(root, "qemu 10"))
    other = Identity(found.code, found.tools, "docker")
    assert found.differs(other) == "has toolchain docker, not host: start it with --toolchain host"


def test_this_kstep_has_one() -> None:
    assert identity(ROOT) == identity(ROOT)
