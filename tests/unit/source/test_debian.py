# SPDX-License-Identifier: GPL-2.0-only
"""Debian's packages: the private apt configuration, and what a fetch does again."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.cache import Cache
from kstep.base.errors import MachineryError, RequestError
from kstep.source import debian
from kstep.toolchain import CommandError, HostToolchain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kstep.toolchain.limits import Limits


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


class Archive(HostToolchain):
    """A toolchain whose apt has one package; ``answers`` is whether the network does.

    ``sources`` are the versions of which each suite has the kernel's source, ``until`` is
    the day up to which the index holds.
    """

    def __init__(self, until: str = "", **sources: str) -> None:
        super().__init__("test")
        self.release = "bookworm"
        self.answers = True
        self.silence = ["E: Failed to fetch"]  # what apt prints if it does not answer
        self.content = CONTENT
        self.asked: list[str] = []
        self.until = until
        self.sources = sources

    @property
    def debian(self) -> str:
        """The release that it says it is."""
        return self.release

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        limits: Limits | None = None,
        at: Mapping[Path, Path] | None = None,
        on_line: Callable[[str], None] = print,
    ) -> None:
        """Play apt."""
        del readable, writable, env, limits, at
        self.asked.append(next(word for word in argv if word in (*VERBS, "indextargets")))
        if network and not self.answers:
            raise CommandError(argv, 100, self.silence)
        if argv[-1].startswith("linux-source-"):
            self.source(cwd.name.rpartition("-")[2], argv, on_line)
            return
        match self.asked[-1]:
            case "update" if self.until:
                suite = cwd.name.rpartition("-")[2]
                (cwd / f"lists/mirror_dists_{suite}_InRelease").write_text(INDEX % self.until)
            case "indextargets":
                on_line("http://mirror.example/debian|bookworm|main|")
                on_line("http://other.example/debian|trixie|main|")
            case "show":
                for line in ("Package: busybox-static", "Version: 1:1.35.0-4+b7",
                             "Architecture: arm64", f"SHA256: {SHA256}", "Description: small",
                             " Version: no field"):  # fmt: skip
                    on_line(line)
            case "download":
                (cwd / DEB).write_bytes(self.content)

    def source(self, suite: str, argv: Sequence[str], on_line: Callable[[str], None]) -> None:
        """Play apt-cache for the kernels' sources."""
        names = [f"linux-source-{version}" for version in self.sources.get(suite, "").split()]
        if "pkgnames" in argv:
            for name in (*names, "linux-source-", "linux-source-6.1-rt"):
                on_line(name)
        elif "show" in argv:
            if argv[-1] not in names:
                raise CommandError(argv, 100, ["E: No packages found"])
            for line in ("Version: 7.0.1-1", "Architecture: all", f"SHA256: {SHA256}"):
                on_line(line)
        elif "download" in argv:
            (Path(argv[argv.index("-c") + 1]).parent / f"{argv[-1]}_7.0.1-1_all.deb").write_bytes(
                self.content
            )


CONTENT = b"deb"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
DEB = "busybox-static_1%3a1.35.0-4+b7_arm64.deb"
VERBS = ("update", "show", "pkgnames", "download")
INDEX = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

Date: Fri, 30 Oct 2026 08:14:11 UTC
Valid-Until: %s
SHA256:
 0123 1 main/binary-arm64/Packages
"""


def fetched(archive: Archive, tmp_path: Path) -> debian.Package:
    """Fetch the one package that there is."""
    return debian.fetch("busybox-static", "bookworm", archive, Cache(tmp_path))


def test_a_package_is_fetched_once_a_day(tmp_path: Path) -> None:
    archive = Archive()
    first = fetched(archive, tmp_path)
    assert (first.version, first.sha256) == ("1:1.35.0-4+b7", SHA256)
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


def test_the_archives_are_those_of_the_toolchain_s_release(tmp_path: Path) -> None:
    """Any suite is fetched from them."""
    archive = Archive()
    archive.release = "trixie"
    first = fetched(archive, tmp_path)
    assert (first.path.parent / "sources.list").read_text() == (
        "deb http://other.example/debian bookworm main\n"
    )
    archive.release = "noble"
    with pytest.raises(MachineryError, match="toolchain's apt has no archive of Debian noble"):
        debian.fetch("busybox-static", "trixie", archive, Cache(tmp_path))


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
    assert str(error.value) == "cannot fetch package busybox-static of Debian bookworm"
    assert error.value.details == ("E: Failed to fetch",)


# -- what is in the cache and is not what was fetched


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _remove(path: Path) -> None:
    path.unlink()


def _replace_by_link(path: Path) -> None:
    aside = path.with_name("aside")
    path.rename(aside)
    path.symlink_to(aside)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (DEB, _flip),
        (DEB, _truncate),
        (DEB, _remove),
        (DEB, _replace_by_link),
        ("current", lambda path: path.write_text("1.0 beef")),
        ("current", lambda path: path.write_text(f"1.0 {SHA256} ../../{DEB}")),
        ("current", lambda path: path.write_bytes(b"\xff\xff")),
        ("current", _replace_by_link),
    ],
)
def test_a_package_that_is_damaged_is_fetched_again(
    file: str, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    """And said so, in one line."""
    archive, said = Archive(), list[str]()
    first = fetched(archive, tmp_path)
    damage(first.path.parent / file)
    again = debian.fetch("busybox-static", "bookworm", archive, Cache(tmp_path), said.append)
    assert again == first
    assert again.path.read_bytes() == CONTENT
    assert not again.path.is_symlink()
    (line,) = said
    assert line.startswith("cache: fetching package busybox-static of Debian bookworm again: ")
    assert fetched(archive, tmp_path) == first
    assert archive.asked.count("update") == 2


def test_a_damaged_package_does_not_serve_where_the_archive_is_silent(tmp_path: Path) -> None:
    archive = Archive()
    _flip(fetched(archive, tmp_path).path)
    archive.answers = False
    with pytest.raises(MachineryError, match="cannot fetch"):
        fetched(archive, tmp_path)


def test_what_an_archive_gives_is_what_its_index_has(tmp_path: Path) -> None:
    archive = Archive()
    archive.content = b"other"
    with pytest.raises(MachineryError, match=r"arm64\.deb differs from its recorded hash"):
        fetched(archive, tmp_path)


# -- kernel sources


def test_a_source_comes_from_the_suite_that_has_it(tmp_path: Path) -> None:
    archive = Archive(sid="7.2", trixie="6.12")
    package = debian.kernel_source("7.2", archive, Cache(tmp_path))
    assert (package.name, package.origin) == ("linux-source-7.2", "Debian sid")
    assert "pkgnames" not in archive.asked  # nor was another suite


def test_a_source_that_is_elsewhere_by_now_is_found(tmp_path: Path) -> None:
    """The usual place has something newer, or there is no usual place."""
    for version in ("7.2", "6.18"):
        archive = Archive(sid="7.3", forky="7.2 6.18", trixie="6.12")
        package = debian.kernel_source(version, archive, Cache(tmp_path / version))
        assert (package.name, package.origin) == (f"linux-source-{version}", "Debian forky")


def test_a_source_that_has_moved_on_is_answered_with_what_there_is(tmp_path: Path) -> None:
    archive = Archive(sid="7.3", trixie="6.12", bookworm="6.1")
    said: list[str] = []
    with pytest.raises(RequestError) as error:
        debian.kernel_source("7.2", archive, Cache(tmp_path), said.append)
    assert said[0] == "tree debian:7.2: asking 5 Debian suites for linux-source-7.2"
    assert sorted(said[1:]) == [  # as they answer: nobody waits in silence
        "tree debian:7.2: bookworm has 6.1",
        "tree debian:7.2: bullseye has no kernel source",
        "tree debian:7.2: forky has no kernel source",
        "tree debian:7.2: sid has 7.3",
        "tree debian:7.2: trixie has 6.12",
    ]
    assert str(error.value) == (
        "tree debian:7.2: no Debian suite has linux-source-7.2 now;"
        " available: debian:6.1 (bookworm), debian:6.12 (trixie), debian:7.3 (sid)"
    )


def test_suites_are_asked_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answers only when all have been asked; one that does not is named."""
    all_asked = threading.Barrier(len(debian.SUITES), timeout=10)

    def ask(suite: str, *_given: object) -> list[str]:
        all_asked.wait()
        if suite == "forky":
            raise MachineryError("Debian forky", details=("E: no route",))
        return [f"5.{debian.SUITES.index(suite)}"]

    monkeypatch.setattr(debian, "_kernel_sources", ask)
    said: list[str] = []
    with pytest.raises(RequestError, match=r"available: debian:5\.0 .*; forky does not answer: E"):
        debian.kernel_source("6.6", Archive(), Cache(tmp_path), said.append)
    assert "tree debian:6.6: forky does not answer: E: no route" in said


def test_what_goes_wrong_in_a_suite_is_not_taken_for_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_given: object) -> list[str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(debian, "_kernel_sources", ask)
    with pytest.raises(OSError, match="No space"):
        debian.kernel_source("6.6", Archive(), Cache(tmp_path))


def test_a_note_of_the_future_is_not_believed(tmp_path: Path) -> None:
    """The clock was wrong when it was written: otherwise the archive is not asked for years."""
    archive = Archive()
    note = fetched(archive, tmp_path).path.with_name("current")
    archive.asked.clear()
    os.utime(note, (time.time() + 1e8, time.time() + 1e8))
    fetched(archive, tmp_path)
    assert "update" in archive.asked


def test_where_no_suite_answers_there_is_no_verdict_on_the_version(tmp_path: Path) -> None:
    archive = Archive()
    archive.answers = False
    with pytest.raises(MachineryError) as error:
        debian.kernel_source("4.19", archive, Cache(tmp_path))
    assert str(error.value) == "no Debian suite answers"
    assert "sid does not answer: E: Failed to fetch" in error.value.details


@pytest.mark.parametrize(
    ("until", "origin"),
    [
        ("Fri, 06 Nov 2020 08:14:11 UTC", "Debian sid as of 2026-10-30, an expired index"),
        ("Fri, 06 Nov 2099 08:14:11 UTC", "Debian sid"),
    ],
)
def test_an_index_that_has_expired_is_told(until: str, origin: str, tmp_path: Path) -> None:
    archive = Archive(until, sid="7.2")
    for _ in range(2):  # the second time from the note
        assert debian.kernel_source("7.2", archive, Cache(tmp_path)).origin == origin


# -- a package with what it depends on


class Dependencies(Archive):
    """An archive in which QEMU needs a library, and a metapackage stands for a kernel."""

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        readable: Sequence[Path] = (),
        writable: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        network: bool = False,
        limits: Limits | None = None,
        at: Mapping[Path, Path] | None = None,
        on_line: Callable[[str], None] = print,
    ) -> None:
        """Play apt."""
        if "install" in argv:
            on_line("Inst libfdt1 (1.6 Debian:12 [arm64])")
            on_line("Inst qemu-system-arm (1:7.2 Debian:12 [arm64])")
            on_line("Conf qemu-system-arm (1:7.2 Debian:12 [arm64])")
        elif "depends" in argv:
            on_line(argv[-1])
            if argv[-1] == "linux-image-arm64":
                on_line("  Depends: linux-image-6.1.0-57-arm64")
            else:
                on_line("  Depends: kmod")
                on_line("  Depends: linux-base")
                on_line("  Depends: linux-modules-6.1.0-57-arm64")
                on_line("  Depends: linux-base-6.1.0-57-arm64")
                on_line("  Depends: linux-binary-6.1.0-57-arm64")
        elif "download" in argv and self.answers:
            self.asked.append("download")
            for name in argv[argv.index("download") + 1 :]:
                (cwd / f"{name}_1%3a2.3-4_arm64.deb").write_text(name)
        else:
            super().run(
                argv,
                cwd=cwd,
                readable=readable,
                writable=writable,
                env=env,
                network=network,
                limits=limits,
                at=at,
                on_line=on_line,
            )


def a_set(archive: Archive, tmp_path: Path) -> dict[str, str]:
    """Fetch QEMU and a kernel; the content of each package by its name."""
    names = ["qemu-system-arm"]
    found = debian.fetch_set(names, "linux-image-arm64", "bookworm", archive, Cache(tmp_path))
    assert {each.version for each in found} == {"1:2.3-4"}
    assert {each.origin for each in found} == {"Debian bookworm"}
    return {each.name: each.path.read_text() for each in found}


def test_packages_come_with_what_they_need_and_a_kernel_without(tmp_path: Path) -> None:
    """Its metapackage stands for it; a kernel's tools are not needed in the host."""
    archive = Dependencies()
    first = a_set(archive, tmp_path)
    assert first == {name: name for name in first}
    assert set(first) == {
        "libfdt1",
        "qemu-system-arm",
        "linux-image-6.1.0-57-arm64",
        "linux-modules-6.1.0-57-arm64",
        "linux-base-6.1.0-57-arm64",
        "linux-binary-6.1.0-57-arm64",
    }
    assert a_set(archive, tmp_path) == first
    assert archive.asked.count("download") == 1


def test_a_set_of_which_one_package_is_damaged_is_fetched_again(tmp_path: Path) -> None:
    archive = Dependencies()
    first = a_set(archive, tmp_path)
    (path,) = tmp_path.glob("downloads/*/libfdt1_*.deb")
    path.write_text("other")
    assert a_set(archive, tmp_path) == first
    assert archive.asked.count("download") == 2


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (
            ["E: The repository 'http://mirror bookworm Release' does not have a Release file."],
            RequestError,
            "no {}: The repository 'http://mirror bookworm Release' does not have a Release file",
        ),
        (
            ["E: Unable to locate package qemu-system-arm"],
            RequestError,
            "no {}: Unable to locate package qemu-system-arm",
        ),
        (
            ["E: Failed to fetch http://mirror/InRelease  no route", "E: Some failed to download."],
            MachineryError,
            "cannot fetch {}: Failed to fetch http://mirror/InRelease no route",
        ),
    ],
)
def test_where_no_arm64_packages_are_in_reach_one_line_says_why_and_what_to_do(
    said: list[str], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    """An archive that has none is the user's to change; one that is silent is nobody's fault."""
    archive = Dependencies()
    archive.silence = said
    archive.answers = False
    with pytest.raises(kind) as error:
        a_set(archive, tmp_path)
    what = "qemu-system-arm, linux-image-arm64 of Debian bookworm for arm64"
    assert str(error.value) == (
        f"{message.format(what)}; name another suite, or a mirror that has it"
    )
    assert not getattr(error.value, "details", ())


def test_a_lock_that_another_toolchain_has_left_is_no_hindrance(tmp_path: Path) -> None:
    """As root on the host apt leaves one that a container's user cannot open."""
    archive = Dependencies()
    first = a_set(archive, tmp_path)
    (note,) = tmp_path.glob("downloads/*/current")
    note.unlink()
    lock = note.parent / "lists/lock"
    lock.touch(mode=0)
    assert a_set(archive, tmp_path) == first
    assert not lock.exists()
