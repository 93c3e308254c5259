# SPDX-License-Identifier: GPL-2.0-only
"""What this machine has and lacks: each finding both ways, and what verify can do without."""

from __future__ import annotations

import os
import platform
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from kstep import doctor
from kstep.base.cache import GIB
from kstep.base.errors import MachineryError
from kstep.toolchain import apt

if TYPE_CHECKING:
    from pathlib import Path


class Usage(NamedTuple):
    """A disk's; shutil has no public type for it."""

    total: int
    used: int
    free: int


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be on a machine that has everything; give the folder of its toolchain's recipe."""
    (tmp_path / "packages.txt").write_text("gcc\nmake\n")
    (tmp_path / "bin").mkdir()
    for name in ("git", "clang"):
        (tmp_path / "bin" / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("KSTEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "engine_fault", lambda: None)
    monkeypatch.setattr(apt, "missing", lambda _packages: [])
    sources = apt.Sources((("http://mirror.example", "", ""), ("http://mirror.example", "-x", "")))
    monkeypatch.setattr(apt, "own_sources", lambda: sources)
    monkeypatch.setattr(apt, "own_release", lambda: "trixie")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(0, 0, 20 * GIB))
    return tmp_path


def found(folder: Path) -> dict[str, doctor.Finding]:
    """Look around."""
    return {finding.what: finding for finding in doctor.examine(folder)}


def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "engine_fault", lambda: "connection refused")


def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "missing", lambda packages: [packages[0]])


def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(0, 0, 7 * GIB))


def no_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)


def test_a_machine_that_has_everything(machine: Path) -> None:
    assert [(each.what, each.state, each.fix) for each in doctor.examine(machine)] == [
        ("python", platform.python_version(), ""),
        ("git", str(machine / "bin/git"), ""),
        ("docker engine", "answers", ""),
        ("host packages", "all 2", ""),
        ("debian archive", "2 configured", ""),
        ("compiler gcc", "a container has it; --toolchain host would install it", ""),
        ("compiler clang", f"--toolchain host has it: {machine / 'bin/clang'}", ""),
        ("suites of tools", "container: bookworm, trixie, forky, sid; host: trixie", ""),
        ("disk", f"20 GiB free for {machine / 'cache'}", ""),
    ]
    assert doctor.usable(doctor.examine(machine))


def test_without_git_nothing_can_be_done(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_git(monkeypatch)
    assert found(machine)["git"] == doctor.Finding("git", "missing", "sudo apt-get install git")
    assert not doctor.usable(doctor.examine(machine))


def test_without_an_engine_the_host_s_packages_will_do(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_engine(monkeypatch)
    engine = found(machine)["docker engine"]
    assert engine.state == "connection refused"
    assert engine.fix == "sudo apt-get install docker.io, and start dockerd"
    assert doctor.usable(doctor.examine(machine))
    no_packages(monkeypatch)
    assert not doctor.usable(doctor.examine(machine))


def test_the_host_s_packages_will_not_do_without_a_debian_archive(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ubuntu has packages of the same names."""

    def refuse() -> None:
        raise MachineryError("this host runs Ubuntu 24.04, not Debian")

    monkeypatch.setattr(apt, "own_sources", refuse)
    assert doctor.usable(doctor.examine(machine))
    no_engine(monkeypatch)
    assert not doctor.usable(doctor.examine(machine))


def test_packages_that_are_missing_are_named_in_a_command(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are none too many where an engine answers."""
    no_packages(monkeypatch)
    packages = found(machine)["host packages"]
    assert packages.state == "1 of 2 missing"
    assert packages.fix == "sudo apt-get install --no-install-recommends gcc"
    assert doctor.usable(doctor.examine(machine))


def test_a_machine_that_is_no_debian_is_told_to_use_an_engine(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MachineryError("this machine has no dpkg")

    monkeypatch.setattr(apt, "missing", refuse)
    monkeypatch.setattr(apt, "own_sources", refuse)
    packages, archive = found(machine)["host packages"], found(machine)["debian archive"]
    assert (packages.state, packages.fix) == ("this machine has no dpkg", "use a Docker engine")
    assert archive.state == "this machine has no dpkg"
    assert archive.fix == "use a Docker engine with an image registry"
    assert doctor.usable(doctor.examine(machine))


def test_a_disk_that_is_nearly_full(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little_room(monkeypatch)
    disk = found(machine)["disk"]
    assert disk.state == "7.0 GiB free, 8 wanted"
    assert disk.fix == "./inv clean, or set KSTEP_CACHE to a folder on a larger disk"
    assert not doctor.usable(doctor.examine(machine))
