# SPDX-License-Identifier: GPL-2.0-only
"""Which archives are Debian's, and the sources.list that is made of them."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.progress import Progress
from kstep.toolchain import apt
from kstep.toolchain.apt import Sources

if TYPE_CHECKING:
    from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://mirror.example/debian"
SECURITY = "http://mirror.example/debian-security"

# As apt-get indextargets prints it with INDEX_FORMAT on a Debian 12.
OWN = f"""\
{MIRROR}/|bookworm|main|{KEYRING}
{MIRROR}/|bookworm|contrib|{KEYRING}
{MIRROR}/|bookworm-updates|main|{KEYRING}
{SECURITY}/|bookworm-security|main|{KEYRING}
{MIRROR}/|bookworm|main|{KEYRING}
"""
FOREIGN = """\
http://apt.example/pub|bookworm-pgdg|main|/etc/apt/pgdg.asc
http://apt.example/backports|bookworm-backports|main|
http://download.example/linux|bookworm|stable|/etc/apt/docker.asc
http://apt.example/deb|stable|main|
http://apt.example/node|nodistro|main|
http://apt.example/flat|/|
http://apt.example/old|bullseye|main|
http://apt.example/proposed|bookworm-proposed-updates|main|
"""


def test_debians_own_archives_are_kept_once() -> None:
    assert Sources.parse(OWN, "bookworm").entries == (
        (f"{MIRROR}/", "", KEYRING),
        (f"{MIRROR}/", "-updates", KEYRING),
        (f"{SECURITY}/", "-security", KEYRING),
    )


def test_foreign_suites_components_and_releases_are_left_out() -> None:
    assert Sources.parse(FOREIGN + OWN + FOREIGN, "bookworm") == Sources.parse(OWN, "bookworm")


@pytest.mark.parametrize("text", ["", "\n", "garbage\n", "|||\n", "a|b\n", "E: unable to read\n"])
def test_text_without_archives_has_none(text: str) -> None:
    assert Sources.parse(text, "bookworm").entries == ()


def test_an_archive_that_names_no_key_has_none() -> None:
    """What has no value, apt prints as it was asked for."""
    text = f"{MIRROR}|bookworm|main|$(SIGNED_BY)\n{MIRROR}|bookworm-updates|main\n"
    sources = Sources.parse(text, "bookworm")
    assert sources.as_list("trixie") == (
        f"deb {MIRROR} trixie main\ndeb {MIRROR} trixie-updates main\n"
    )


def test_a_list_is_made_for_any_release() -> None:
    assert Sources.parse(OWN, "bookworm").as_list("trixie") == (
        f"deb [signed-by={KEYRING}] {MIRROR}/ trixie main\n"
        f"deb [signed-by={KEYRING}] {MIRROR}/ trixie-updates main\n"
        f"deb [signed-by={KEYRING}] {SECURITY}/ trixie-security main\n"
    )


def test_sid_has_no_updates_and_no_security() -> None:
    assert Sources.parse(OWN, "bookworm").as_list("sid") == (
        f"deb [signed-by={KEYRING}] {MIRROR}/ sid main\n"
    )


def test_old_releases_call_security_otherwise() -> None:
    text = f"{SECURITY}|buster/updates|main|\n"
    assert Sources.parse(text, "buster").as_list("buster") == (
        f"deb {SECURITY} buster/updates main\n"
    )


def test_what_is_printed_can_be_read_again() -> None:
    """A list made for a release is one of that release."""
    made = Sources.parse(OWN, "bookworm").as_list("trixie")
    fields = [
        line.replace("[signed-by=", "").replace("]", "").split() for line in made.splitlines()
    ]
    listed = "".join(f"{uri}|{suite}|{main}|{key}\n" for _, key, uri, suite, main in fields)
    assert Sources.parse(listed, "trixie") == Sources.parse(OWN, "bookworm")


# -- packages of this machine, with a dpkg and an apt that are made up


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def tool(folder: Path, name: str, script: str) -> None:
    """Put a program there."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


DPKG = """\
echo 'installed make, '
echo 'config-files gcc, c-compiler'
"""


def test_only_what_is_installed_is_there(tools: Path) -> None:
    tool(tools, "dpkg-query", DPKG)
    assert apt.missing(["make", "gcc", "qemu"]) == ["gcc", "qemu"]


def test_what_another_package_provides_is_there(tools: Path) -> None:
    """As on an arm64 host, where the cross compiler is the native one."""
    said = "installed gcc, c-compiler, gcc-aarch64-linux-gnu (= 4:12.2.0-3)"
    tool(tools, "dpkg-query", f"echo '{said}'")
    assert apt.missing(["gcc-aarch64-linux-gnu", "gcc", "clang"]) == ["clang"]


def test_without_dpkg_there_is_no_host_toolchain(tools: Path) -> None:
    assert not list(tools.iterdir())
    with pytest.raises(MachineryError, match=r"no dpkg;\s+use --toolchain docker"):
        apt.missing(["make"])


def test_nothing_is_run_where_nothing_is_missing(tools: Path) -> None:
    tool(tools, "dpkg-query", "echo 'installed make, '")
    apt.install(["make"], Progress())


def test_who_may_not_install_is_told_the_command(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools, "dpkg-query", DPKG)
    tool(tools, "sudo", "exit 1")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(MachineryError) as error:
        apt.install(["make", "gcc"], Progress())
    assert str(error.value) == (
        "packages are missing; run: sudo apt-get install -y --no-install-recommends gcc"
    )


def test_who_has_no_sudo_is_told_the_command_too(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools, "dpkg-query", DPKG)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with pytest.raises(MachineryError, match=r"run: sudo apt-get install"):
        apt.install(["gcc"], Progress())


def test_an_apt_that_fails_is_quoted(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools, "dpkg-query", DPKG)
    tool(tools, "apt-get", "echo 'E: Unable to locate package gcc' >&2; exit 100")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    with pytest.raises(MachineryError) as error:
        apt.install(["gcc"], Progress())
    assert str(error.value) == (
        "packages are missing and apt failed (E: Unable to locate package gcc);"
        " run: apt-get install -y --no-install-recommends gcc"
    )


# -- the archives of this host


def system(monkeypatch: pytest.MonkeyPatch, codename: str = "", name: str = "debian") -> None:
    """Have a system of a name and a codename."""
    fields = {"ID": name, "PRETTY_NAME": f"{name.title()} 24.04"}
    if codename:
        fields["VERSION_CODENAME"] = codename
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: fields)


def test_own_sources_need_an_apt(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not list(tools.iterdir())
    system(monkeypatch, "bookworm")
    with pytest.raises(MachineryError, match=r"^no Debian mirror: this host has no apt-get$"):
        apt.own_sources()


def test_another_system_is_no_debian(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ubuntu has an apt too, and archives in it."""
    tool(tools, "apt-get", "echo 'http://archive.example/ubuntu|noble|main|'")
    system(monkeypatch, "noble", "ubuntu")
    with pytest.raises(MachineryError, match=r"^this host runs Ubuntu 24.04, not Debian$"):
        apt.own_sources()
    system(monkeypatch)
    with pytest.raises(MachineryError, match=r"^this host runs Debian 24.04, not Debian$"):
        apt.own_release()


def test_a_system_that_says_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FileNotFoundError("/etc/os-release")

    monkeypatch.setattr(platform, "freedesktop_os_release", refuse)
    with pytest.raises(MachineryError, match=r"^this host runs Linux, not Debian$"):
        apt.own_release()


@pytest.mark.parametrize("codename", ["bookworm", "trixie", "forky"])
def test_the_release_is_the_machine_s(
    codename: str, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are its archives; a mirror that serves all releases makes any other from them."""
    tool(tools, "apt-get", f"echo '{MIRROR}|bullseye|main|'; echo '{MIRROR}|{codename}|main|'")
    system(monkeypatch, codename)
    assert apt.own_release() == codename
    assert apt.own_sources().as_list("bookworm") == f"deb {MIRROR} bookworm main\n"


@pytest.mark.parametrize(
    ("suites", "codename"),
    [(("stable", "stable-updates"), "trixie"), (("testing",), "forky"), (("sid",), "forky")],
)
def test_archives_may_be_named_by_what_the_release_is_today(
    suites: tuple[str, ...], codename: str
) -> None:
    """Others have a "stable" too; they are no Debian's where the codename is named."""
    text = "".join(f"{MIRROR}|{suite}|main|\n" for suite in suites)
    made = Sources.parse(text, codename)
    assert [part for _, part, _ in made.entries] == ["", "-updates"][: len(suites)]
    named = f"{SECURITY}|{codename}-security|main|\n"
    assert Sources.parse(text + named, codename).entries == ((SECURITY, "-security", ""),)


@pytest.mark.parametrize("script", ["exit 0", "echo 'http://apt.example|bookworm-pgdg|main|'"])
def test_own_sources_must_be_debians(
    script: str, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools, "apt-get", script)
    system(monkeypatch, "bookworm")
    with pytest.raises(MachineryError, match=r"apt has no archive of Debian bookworm$"):
        apt.own_sources()


def test_an_apt_that_cannot_read_its_own_lists_is_no_traceback(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools, "apt-get", "echo 'E: Malformed entry 1 in list file' >&2; exit 100")
    system(monkeypatch, "bookworm")
    with pytest.raises(MachineryError, match=r"E: Malformed entry 1 in list file"):
        apt.own_sources()
