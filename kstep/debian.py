# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages as material: kernel sources, and the guest's busybox.

They are fetched by a private apt configuration, run inside the toolchain: nothing is
added to the machine's own suites or architectures. The archives are those that the
toolchain's apt is configured for; only the suite changes.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep import apt
from kstep.errors import MachineryError, RequestError
from kstep.toolchain import DEBIAN, CommandError

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.cache import Cache
    from kstep.toolchain import Toolchain

DAY = 86400.0  # seconds

# Everything that apt would read or write elsewhere stands in the shelf's own folder. It
# is given with -c, which outranks the machine's apt.conf.d; hooks found there are dropped.
APT_CONF = """\
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages {{ "none"; }};
Dir::Etc::SourceList "{shelf}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{shelf}";
Dir::State::Lists "{shelf}/lists";
Dir::State::status "{shelf}/status";
Dir::Cache "{shelf}";
Dir::Cache::Archives "{shelf}/archives";
"""

# Which suite has linux-source-X: facts of the archive, November 2026.
SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "7.2": "sid"}


@dataclass(frozen=True)
class Package:
    """One package file."""

    name: str
    version: str
    sha256: str
    path: Path


def kernel_source(version: str, toolchain: Toolchain, cache: Cache) -> Package:
    """Fetch ``linux-source-<version>``; the newest that its suite has."""
    if version not in SUITES:
        there = ", ".join(f"debian:{known}" for known in SUITES)
        raise RequestError(f"tree debian:{version}: there is {there}")
    return fetch(f"linux-source-{version}", SUITES[version], toolchain, cache)


def fetch(name: str, suite: str, toolchain: Toolchain, cache: Cache) -> Package:
    """Return the newest ``name`` of ``suite`` for arm64.

    The archive is asked once a day; where it does not answer, the copy at hand serves.
    """
    shelf = cache.folder("downloads", f"{name}-{suite}")
    note = shelf / "current"
    with cache.lock(f"download-{name}-{suite}"):
        if not note.exists() or time.time() - note.stat().st_mtime > DAY:
            try:
                _download(name, suite, toolchain, toolchain.own(shelf))
            except CommandError as error:
                if not note.exists():
                    raise MachineryError(
                        f"package {name} of Debian {suite} cannot be fetched",
                        details=error.details[-5:],
                    ) from error
        version, sha256, file = note.read_text().split()
    return Package(name, version, sha256, shelf / file)


def unpack(package: Package, into: Path, toolchain: Toolchain) -> None:
    """Unpack a package's files below ``into``."""
    argv = ["dpkg-deb", "--extract", str(package.path), str(into)]
    toolchain.run(argv, cwd=into, readable=[package.path.parent], writable=[into])


def _download(name: str, suite: str, toolchain: Toolchain, shelf: Path) -> None:
    def ask(tool: str, *argv: str, network: bool = False) -> list[str]:
        said: list[str] = []
        toolchain.run(
            [tool, "-c", str(shelf / "apt.conf"), *argv],
            cwd=shelf,
            writable=[shelf],
            network=network,
            on_line=said.append,
        )
        return said

    listed: list[str] = []
    toolchain.run(apt.INDEX_ARGV, cwd=shelf, writable=[shelf], on_line=listed.append)
    sources = apt.Sources.parse("\n".join(listed), DEBIAN)
    if not sources.entries:
        raise MachineryError(f"the toolchain's apt has no archive of Debian {DEBIAN}")
    (shelf / "sources.list").write_text(sources.as_list(suite))
    (shelf / "apt.conf").write_text(APT_CONF.format(shelf=shelf))
    (shelf / "status").write_text("")
    for name_below in ("lists", "lists/partial", "archives", "archives/partial"):
        (shelf / name_below).mkdir(exist_ok=True)
        toolchain.own(shelf / name_below)
    ask("apt-get", "-qq", "update", network=True)
    shown = ask("apt-cache", "show", "--no-all-versions", name)
    fields = dict(line.split(": ", 1) for line in shown if re.match(r"^[A-Z][\w-]*: ", line))
    file = f"{name}_{fields['Version']}_{fields['Architecture']}.deb".replace(":", "%3a")
    if not (shelf / file).exists():
        ask("apt-get", "-qq", "download", name, network=True)
    # apt has checked the file against the index, and the index against its signature.
    scratch = shelf / "current.new"
    scratch.write_text(f"{fields['Version']} {fields['SHA256']} {file}\n")
    scratch.rename(shelf / "current")
