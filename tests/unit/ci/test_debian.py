# SPDX-License-Identifier: GPL-2.0-only
"""The script ci/debian up to where the root is made, with an apt and an mmdebstrap made up.

That the commands run in the root, every night shows.
"""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.conftest import program

SCRIPT = Path(__file__).parents[3] / "ci/debian"
MIRROR = "http://mirror.example/debian"
CODENAME = platform.freedesktop_os_release().get("VERSION_CODENAME", "none")
# Notes what it is asked for and the list that it is given, if any; then it fails.
MMDEBSTRAP = """\
cd {folder}
echo "$*" >asked
for list; do :; done
[ ! -f "$list" ] || cp "$list" list
exit 7"""


@dataclass(frozen=True)
class Machine:
    """A machine whose apt knows some archives."""

    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        path = f"{self.folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
        return subprocess.run(
            [SCRIPT, *arguments],
            env={"PATH": path, "TMPDIR": str(self.folder / "tmp")},
            capture_output=True,
            text=True,
            check=False,
        )

    def knows(self, *archives: str) -> None:
        """Have apt print these."""
        lines = "".join(f"echo 'deb {each} main'\n" for each in archives)
        program(self.folder / "bin/apt-get", lines or "true")

    @property
    def left(self) -> list[str]:
        """Name what the script has left."""
        return [path.name for path in (self.folder / "tmp").iterdir()]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a machine, with root's rights as far as the script asks for them."""
    for name in ("bin", "tmp"):
        (tmp_path / name).mkdir()
    program(tmp_path / "bin/id", "echo 0")
    program(tmp_path / "bin/mmdebstrap", MMDEBSTRAP.format(folder=f"'{tmp_path}'"))
    found = Machine(tmp_path)
    found.knows()
    return found


def test_what_is_missing_is_said_before_anything_is_made(machine: Machine) -> None:
    done = machine.run()
    assert (done.returncode, done.stderr) == (2, f"usage: {SCRIPT} SUITE [COMMAND...]\n")
    program(machine.folder / "bin/id", "echo 1000")
    done = machine.run("trixie")
    assert (done.returncode, done.stderr) == (2, f"{SCRIPT}: needs root: sudo {SCRIPT} trixie\n")
    assert not (machine.folder / "asked").exists()
    assert machine.left == []


@pytest.mark.skipif(
    platform.freedesktop_os_release().get("ID") != "debian", reason="it has no Debian mirror"
)
def test_the_root_is_made_from_the_machine_s_mirror_with_another_suite(machine: Machine) -> None:
    machine.knows(
        f"{MIRROR} {CODENAME}",
        f"{MIRROR} {CODENAME}",
        f"{MIRROR}-security {CODENAME}-security",
        f"http://apt.example {CODENAME}-pgdg",
        "http://apt.example stable",
    )
    assert machine.run("forky").returncode == 7
    assert (machine.folder / "list").read_text() == (
        f"deb {MIRROR} forky main\ndeb {MIRROR}-security forky-security main\n"
    )
    assert machine.run("sid").returncode == 7
    assert (machine.folder / "list").read_text() == f"deb {MIRROR} sid main\n"
    assert machine.left == []


def test_without_such_a_mirror_it_is_debian_s_own(machine: Machine) -> None:
    """Which mmdebstrap takes, where it is given no list."""
    machine.knows("http://archive.example/ubuntu noble")
    done = machine.run("trixie")
    assert (done.returncode, done.stderr) == (7, f"{SCRIPT}: making a root of trixie\n")
    *_, suite, root = (machine.folder / "asked").read_text().split()
    assert (suite, Path(root).parent.parent) == ("trixie", machine.folder / "tmp")
    assert not (machine.folder / "list").exists()
    assert machine.left == []
