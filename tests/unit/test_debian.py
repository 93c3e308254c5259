# SPDX-License-Identifier: GPL-2.0-only
"""Debian's packages: the private apt configuration, and what a fetch does again."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from kstep import debian
from kstep.cache import Cache
from kstep.errors import MachineryError, RequestError
from kstep.toolchain import CommandError, HostToolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="apt is Debian's")
def test_apt_reads_nothing_of_the_machines_own(tmp_path: Path) -> None:
    """As apt itself reads the configuration, on top of the machine's."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "apt.conf").write_text(debian.APT_CONF.format(shelf=shelf))
    machine = tmp_path / "machine.conf"
    machine.write_text(
        'APT::Update::Pre-Invoke { "touch /tmp/hook"; };\n'
        'APT::Update::Post-Invoke-Success { "touch /tmp/hook"; };\n'
        'APT::Architectures { "amd64"; "i386"; };\n'
        'Acquire::Languages { "de"; };\n'
    )
    argv = ["apt-config", "-c", str(shelf / "apt.conf"), "dump"]
    env = {**os.environ, "APT_CONFIG": str(machine)}
    said = subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout
    assert "touch" not in said
    assert 'APT::Architecture "arm64";' in said
    assert 'APT::Architectures:: "arm64";' in said
    for other in ("amd64", "i386"):
        assert f'APT::Architectures:: "{other}";' not in said
    fields = dict(line.rstrip(";").split(" ", 1) for line in said.splitlines() if " " in line)
    for folder in ("Dir::State", "Dir::State::lists", "Dir::State::status", "Dir::Cache",
                   "Dir::Cache::archives", "Dir::Etc::sourcelist"):  # fmt: skip
        assert fields[folder].strip('"').startswith(str(shelf)), folder
    for nothing in ("sourceparts", "preferences", "preferencesparts"):
        assert fields[f"Dir::Etc::{nothing}"] == '"/dev/null"', nothing


def test_a_version_that_no_suite_has_is_answered_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as error:
        debian.kernel_source("4.19", HostToolchain("test"), Cache(tmp_path))
    assert str(error.value) == (
        "tree debian:4.19: there is debian:5.10, debian:6.1, debian:6.12, debian:7.2"
    )


class Archive(HostToolchain):
    """A toolchain whose apt has one package; ``answers`` is whether the network does."""

    def __init__(self) -> None:
        super().__init__("test")
        self.answers = True
        self.asked: list[str] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        on_line: Callable[[str], None] = print,
    ) -> None:
        """Play apt."""
        del readable, writable, env
        self.asked.append(next(word for word in argv if word in (*VERBS, "indextargets")))
        if network and not self.answers:
            raise CommandError(argv, 100, ["E: Failed to fetch"])
        match self.asked[-1]:
            case "indextargets":
                on_line("http://mirror.example/debian|bookworm|main|")
            case "show":
                for line in ("Package: busybox-static", "Version: 1:1.35.0-4+b7",
                             "Architecture: arm64", "SHA256: 0123", "Description: small",
                             " Version: no field"):  # fmt: skip
                    on_line(line)
            case "download":
                (cwd / "busybox-static_1%3a1.35.0-4+b7_arm64.deb").write_text("deb")


VERBS = ("update", "show", "download")


def fetched(archive: Archive, tmp_path: Path) -> debian.Package:
    """Fetch the one package that there is."""
    return debian.fetch("busybox-static", "bookworm", archive, Cache(tmp_path))


def test_a_package_is_fetched_once_a_day(tmp_path: Path) -> None:
    archive = Archive()
    first = fetched(archive, tmp_path)
    assert (first.version, first.sha256) == ("1:1.35.0-4+b7", "0123")
    assert first.path.read_text() == "deb"
    assert archive.asked == ["indextargets", "update", "show", "download"]
    assert (first.path.parent / "sources.list").read_text() == (
        "deb http://mirror.example/debian bookworm main\n"
    )
    assert fetched(archive, tmp_path) == first
    assert len(archive.asked) == 4
    yesterday = time.time() - debian.DAY - 1
    os.utime(first.path.parent / "current", (yesterday, yesterday))
    assert fetched(archive, tmp_path) == first
    assert archive.asked[4:] == ["indextargets", "update", "show"]


def test_the_copy_at_hand_serves_where_the_archive_is_silent(tmp_path: Path) -> None:
    archive = Archive()
    first = fetched(archive, tmp_path)
    os.utime(first.path.parent / "current", (0, 0))
    archive.answers = False
    assert fetched(archive, tmp_path) == first


def test_without_a_copy_the_reason_is_told(tmp_path: Path) -> None:
    archive = Archive()
    archive.answers = False
    with pytest.raises(MachineryError) as error:
        fetched(archive, tmp_path)
    assert str(error.value) == "package busybox-static of Debian bookworm cannot be fetched"
    assert error.value.details == ("E: Failed to fetch",)
