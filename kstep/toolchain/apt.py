# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages and archives of this host, as its apt and dpkg know them."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kstep.base.progress import Progress

INDEX_FORMAT = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)"
INDEX_ARGV = (
    "apt-get",
    "indextargets",
    "--no-release-info",  # works before the first apt-get update too
    "--format",
    INDEX_FORMAT,
    "Created-By: Packages",
)

# The suites of a release X: X, X-updates, X-security, and for old releases X/updates.
# Others, such as X-pgdg, are not Debian's.
SUITE = re.compile(r"^(?P<release>[a-z]+)(?P<part>-updates|-security|/updates)?$")
# What the archive calls the release of the day. Other archives have a "stable" too.
ROLLING = ("oldstable", "stable", "testing", "unstable", "sid")


@dataclass(frozen=True)
class Sources:
    """The Debian archives in apt's configuration, without the release of their suites."""

    entries: tuple[tuple[str, str, str], ...]  # URI, part such as "-security", signed-by

    @classmethod
    def parse(cls, text: str, release: str) -> Sources:
        """Read the output of INDEX_ARGV; keep Debian's archives of ``release``.

        If none has that name: those of the first name in ROLLING that has any.
        """
        found: dict[str, dict[tuple[str, str, str], None]] = {}
        for line in text.splitlines():
            uri, suite, component, signed = (*line.split("|"), "", "", "")[:4]
            if component == "main" and (match := SUITE.match(suite)):
                key = "" if signed.startswith("$(") else signed
                found.setdefault(match["release"], {})[(uri, match["part"] or "", key)] = None
        return cls(next((tuple(found[name]) for name in (release, *ROLLING) if name in found), ()))

    def as_list(self, release: str) -> str:
        """Return a sources.list for ``release``; sid has no parts."""
        lines = []
        for uri, part, signed in self.entries:
            if release == "sid" and part:
                continue
            option = f" [signed-by={signed}]" if signed else ""
            lines.append(f"deb{option} {uri} {release}{part} main")
        return "".join(f"{line}\n" for line in lines)


def own_sources() -> Sources:
    """Return the Debian archives in the configuration of this host's apt.

    Raises MachineryError if there are none; its message does not name a fix.
    """
    release = own_release()
    if shutil.which("apt-get") is None:
        raise MachineryError("no Debian mirror: this host has no apt-get")
    done = subprocess.run(INDEX_ARGV, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineryError(f"no Debian mirror: apt fails: {_reason(done.stderr)}")
    sources = Sources.parse(done.stdout, release)
    if not sources.entries:
        raise MachineryError(f"no Debian mirror: apt has no archive of Debian {release}")
    return sources


def own_release() -> str:
    """Return the codename of this host's Debian release, such as "trixie".

    On sid it is the codename of the next release (package base-files). Raises MachineryError if
    the host is not Debian; its message does not name a fix.
    """
    try:
        fields = platform.freedesktop_os_release()
    except OSError:
        fields = {}
    if fields.get("ID") == "debian" and (release := fields.get("VERSION_CODENAME")):
        return release
    raise MachineryError(f"this host runs {fields.get('PRETTY_NAME', 'Linux')}, not Debian")


def missing(packages: Sequence[str]) -> list[str]:
    """Return those of ``packages`` that are not installed on this host.

    A package that another one provides is installed too: on an arm64 host ``gcc`` provides
    ``gcc-aarch64-linux-gnu``.
    """
    if shutil.which("dpkg-query") is None:
        raise MachineryError(
            "--toolchain host needs Debian's packages and this host has no dpkg;"
            " use --toolchain docker"
        )
    argv = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}, ${Provides}\n"]
    said = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    marked = (line.partition(" ") for line in said.splitlines())
    found = (names for status, _, names in marked if status == "installed")
    installed = {name.split()[0] for names in found for name in names.split(",") if name.strip()}
    return [name for name in packages if name not in installed]


def install(packages: Sequence[str], progress: Progress) -> None:
    """Install missing packages if that is allowed; otherwise name the command.

    It is allowed for root, or if sudo asks for no password.
    """
    wanted = missing(packages)
    if not wanted:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *wanted]
    if os.getuid() != 0:
        if not _sudo_works():
            raise MachineryError(f"packages are missing; run: sudo {' '.join(command)}")
        command = ["sudo", "-n", *command]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    update = [*command[: command.index("apt-get") + 1], "update"]
    with progress.task(f"installing {len(wanted)} Debian packages"):
        subprocess.run(update, env=env, capture_output=True, check=False)
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MachineryError(
            f"packages are missing and apt failed ({_reason(done.stderr)});"
            f" run: {' '.join(command)}"
        )


def _sudo_works() -> bool:
    """Whether sudo exists and asks for no password."""
    if shutil.which("sudo") is None:
        return False
    return not subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode


def _reason(said: str) -> str:
    return (said.strip().splitlines() or ["no reason given"])[-1]
