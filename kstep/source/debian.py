# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages that kstep uses: kernel sources, and the guest's busybox.

apt fetches them with a private configuration, inside the toolchain: nothing is added to the
host's own suites or architectures. The archives are those in the toolchain's apt
configuration; only the suite changes.
"""

from __future__ import annotations

import email
import hashlib
import os
import re
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING

from kstep.base import digest, temporary
from kstep.base.errors import MachineryError, RequestError
from kstep.toolchain import CommandError, apt, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from kstep.base.cache import Cache
    from kstep.toolchain import Toolchain

DAY = 86400.0  # seconds

# apt reads and writes only in the folder of its download ("shelf"). -c overrides the host's
# apt.conf.d; its hooks are dropped. An expired index is used, and the message says so: its
# signature is still valid, an old mirror or snapshot is good enough, and the record has the
# version.
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
Acquire::Check-Valid-Until "false";
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

SUITES = ("bullseye", "bookworm", "trixie", "forky", "sid")  # searched for kernel sources
# The suite to try first for linux-source-X: as of November 2026.
USUAL = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "7.2": "sid"}
SOURCE = "linux-source-"
# How apt says that an archive has no such suite, or no such package there.
LACKING = re.compile(r"does not have a Release file|Unable to locate package")


@dataclass(frozen=True)
class Package:
    """One package file; ``origin`` is its suite, and the date of the suite's index if expired."""

    name: str
    version: str
    sha256: str
    path: Path
    origin: str


class MissingError(MachineryError):
    """A suite does not have a package."""


def kernel_source(
    version: str, toolchain: Toolchain, cache: Cache, say: Callable[[str], None] = ignore
) -> Package:
    """Fetch the newest ``linux-source-<version>`` of the suite that has it.

    ``say`` gets a line for each suite that answers; they are asked in parallel, which takes some
    seconds. Raises RequestError, listing what is available, if no suite has it.
    """
    name = f"{SOURCE}{version}"
    if version in USUAL:
        with suppress(MissingError):
            return fetch(name, USUAL[version], toolchain, cache, say)
    say(f"tree debian:{version}: asking {len(SUITES)} Debian suites for {name}")
    offers: dict[str, str] = {}
    silent: list[str] = []
    for suite, found in _kernel_sources_of_all(toolchain, cache):
        if isinstance(found, MachineryError):
            silent.append(f"{suite} does not answer: {(found.details or (str(found),))[-1]}")
            say(f"tree debian:{version}: {silent[-1]}")
            continue
        offers |= dict.fromkeys(found, suite)
        known = ", ".join(sorted(found, key=_number)) or "no kernel source"
        say(f"tree debian:{version}: {suite} has {known}")
    if version in offers:
        return fetch(name, offers[version], toolchain, cache, say)
    if not offers:
        raise MachineryError("no Debian suite answers", details=tuple(silent))
    known = ", ".join(f"debian:{each} ({offers[each]})" for each in sorted(offers, key=_number))
    raise RequestError(
        f"tree debian:{version}: no Debian suite has {name} now; available: {known}"
        + "".join(f"; {each}" for each in silent)
    )


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _kernel_sources_of_all(
    toolchain: Toolchain, cache: Cache
) -> Iterator[tuple[str, list[str] | MachineryError]]:
    """Ask every suite for its kernel sources, in parallel; return answers as they come.

    The threads are daemons, so that Ctrl-C does not wait for an archive; what they have started
    ends with them.
    """
    answers: SimpleQueue[tuple[str, list[str] | MachineryError | BaseException]] = SimpleQueue()

    def ask(suite: str) -> None:
        try:
            answers.put((suite, _kernel_sources(suite, toolchain, cache)))
        except BaseException as error:  # noqa: BLE001 -- raised below, on the caller's thread
            answers.put((suite, error))

    for suite in SUITES:
        threading.Thread(target=ask, args=(suite,), daemon=True).start()
    for _ in SUITES:
        suite, found = answers.get()
        if isinstance(found, BaseException) and not isinstance(found, MachineryError):
            raise found
        yield suite, found


def _kernel_sources(suite: str, toolchain: Toolchain, cache: Cache) -> list[str]:
    """List the versions of kernel sources in a suite; its index is fetched once a day."""
    shelf = cache.folder("downloads", f"index-{suite}")
    note = shelf / "names"
    with cache.lock(f"download-index-{suite}"):
        if not _is_fresh(note):
            toolchain.own(shelf)
            try:
                _update(suite, toolchain, shelf)
                names = _ask(toolchain, shelf, "apt-cache", "pkgnames", SOURCE)
            except CommandError as error:
                raise MachineryError(f"Debian {suite}", details=error.details[-1:]) from error
            temporary.replace(note, "\n".join(names))
        names = note.read_text().split()
    versions = [name.removeprefix(SOURCE) for name in names]
    return [version for version in versions if re.fullmatch(r"\d+\.\d+", version)]


def _is_fresh(note: Path) -> bool:
    """Whether a note is of the last day; one of the future is not, because the clock was wrong."""
    return note.exists() and 0 <= time.time() - note.stat().st_mtime <= DAY


def fetch(
    name: str, suite: str, toolchain: Toolchain, cache: Cache, say: Callable[[str], None] = ignore
) -> Package:
    """Return the newest ``name`` of ``suite`` for arm64.

    The archive is contacted once a day; if it does not answer, the cached copy is used. A damaged
    copy is fetched again, and ``say`` is called with a line about it.
    """
    (package,) = _shelved(
        f"{name}-{suite}",
        suite,
        f"package {name} of Debian {suite}",
        lambda shelf: _download(name, suite, toolchain, toolchain.own(shelf)),
        cache,
        say,
    )
    return package


def fetch_set(
    names: Sequence[str],
    metapackage: str,
    suite: str,
    toolchain: Toolchain,
    cache: Cache,
    say: Callable[[str], None] = ignore,
) -> tuple[Package, ...]:
    """Return the newest packages ``names`` of ``suite`` for arm64, and what they depend on.

    Of ``metapackage`` only the packages are added that it stands for: those of the same source
    (linux-image-arm64 depends on linux-image-6.1.0-57-arm64). Raises RequestError if the archive
    answers that it does not have them. Otherwise as fetch().
    """
    what = f"{', '.join((*names, metapackage))} of Debian {suite} for arm64"
    key = hashlib.sha256(" ".join((*names, metapackage)).encode()).hexdigest()[:8]
    try:
        return _shelved(
            f"set-{key}-{suite}",
            suite,
            what,
            lambda shelf: _download_set(names, metapackage, suite, toolchain, toolchain.own(shelf)),
            cache,
            say,
        )
    except MachineryError as error:
        mend = "name another suite, or a mirror that has it"
        for said in filter(LACKING.search, error.details):
            raise RequestError(f"no {what}: {_reason(said)}; {mend}") from error
        said = "".join(f": {_reason(line)}" for line in error.details[:1])
        raise MachineryError(f"{error}{said}; {mend}", error.signature) from error


def _reason(line: str) -> str:
    """Return what a line of apt says, without its mark, columns and full stop."""
    return " ".join(line.removeprefix("E:").split()).rstrip(".")


def _shelved(
    key: str,
    suite: str,
    what: str,
    download: Callable[[Path], None],
    cache: Cache,
    say: Callable[[str], None],
) -> tuple[Package, ...]:
    """Return the packages of a shelf, which ``download`` fills if they are not of today."""
    shelf = cache.folder("downloads", key)
    note = shelf / "current"
    with cache.lock(f"download-{key}"):
        if os.path.lexists(note) and (reason := _damage(shelf)):
            say(f"cache: fetching {what} again: {reason}")
            _throw_away(note)
        if not _is_fresh(note):
            try:
                download(shelf)
            except MissingError:
                if not note.exists():
                    raise
            except CommandError as error:
                if not note.exists():
                    raise MachineryError(
                        f"cannot fetch {what}", details=error.details[-5:]
                    ) from error
        found = []
        for line in note.read_text().splitlines():
            version, sha256, file, *date = line.split()
            origin = f"Debian {suite}" + (f" as of {date[0]}, an expired index" if date else "")
            name = file.partition("_")[0]
            found.append(Package(name, version, sha256, shelf / file, origin))
    return tuple(found)


def unpack(package: Package, into: Path, toolchain: Toolchain) -> None:
    """Unpack a package's files below ``into``."""
    argv = ["dpkg-deb", "--extract", str(package.path), str(into)]
    toolchain.run(argv, cwd=into, readable=[package.path.parent], writable=[into])


def unpack_all(packages: Sequence[Package], into: Path, toolchain: Toolchain) -> None:
    """Unpack the files of several packages below ``into``."""
    script = 'into=$1; shift; for file; do dpkg-deb --extract "$file" "$into" || exit; done'
    folders = sorted({package.path.parent for package in packages})
    argv = ["sh", "-c", script, "sh", str(into), *(str(each.path) for each in packages)]
    toolchain.run(argv, cwd=into, readable=folders, writable=[into])


def _damage(shelf: Path) -> str | None:
    """Return why the package of a shelf must not be used; None if it is undamaged."""
    if reason := digest.foreign(shelf / "current"):
        return reason
    for line in (shelf / "current").read_text(errors="replace").splitlines() or [""]:
        try:
            _, sha256, file, *_ = line.split()
        except ValueError:
            return "its note is incomplete"
        # The owner does not matter, because apt runs as the toolchain's user; the hash does.
        if "/" in file or (shelf / file).is_symlink():
            return f"{file} is not a file in the cache"
        if reason := digest.differs(shelf / file, sha256):
            return reason
    return None


def _throw_away(path: Path) -> None:
    """Remove what is in the place of a file; a folder can be there only by damage."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _ask(
    toolchain: Toolchain, shelf: Path, tool: str, *argv: str, network: bool = False
) -> list[str]:
    """Run one of apt's tools with the shelf's configuration; return what it prints."""
    said: list[str] = []
    toolchain.run(
        [tool, "-c", str(shelf / "apt.conf"), *argv],
        cwd=shelf,
        writable=[shelf],
        network=network,
        on_line=said.append,
    )
    return said


def _update(suite: str, toolchain: Toolchain, shelf: Path) -> None:
    """Fetch the index of a suite."""
    listed: list[str] = []
    toolchain.run(apt.INDEX_ARGV, cwd=shelf, writable=[shelf], on_line=listed.append)
    sources = apt.Sources.parse("\n".join(listed), toolchain.debian)
    if not sources.entries:
        raise MachineryError(f"the toolchain's apt has no archive of Debian {toolchain.debian}")
    (shelf / "sources.list").write_text(sources.as_list(suite))
    (shelf / "apt.conf").write_text(APT_CONF.format(shelf=shelf))
    (shelf / "status").write_text("")
    for below in ("lists", "lists/partial", "archives", "archives/partial"):
        (shelf / below).mkdir(exist_ok=True)
        toolchain.own(shelf / below)
        # The user of another toolchain may have left it; the cache's own lock is held.
        (shelf / below / "lock").unlink(missing_ok=True)
    _ask(toolchain, shelf, "apt-get", "-qq", "update", network=True)


def _download(name: str, suite: str, toolchain: Toolchain, shelf: Path) -> None:
    _update(suite, toolchain, shelf)
    try:
        shown = _ask(toolchain, shelf, "apt-cache", "show", "--no-all-versions", name)
    except CommandError as error:
        raise MissingError(f"Debian {suite} has no package {name}") from error
    fields = dict(line.split(": ", 1) for line in shown if re.match(r"^[A-Z][\w-]*: ", line))
    file = f"{name}_{fields['Version']}_{fields['Architecture']}.deb".replace(":", "%3a")
    if (shelf / file).is_symlink() or digest.differs(shelf / file, fields["SHA256"]):
        _throw_away(shelf / file)
        _ask(toolchain, shelf, "apt-get", "-qq", "download", name, network=True)
        # apt has checked the file against the index, and the index against its signature.
        if reason := digest.differs(shelf / file, fields["SHA256"]):
            raise MachineryError(f"package {name} of Debian {suite}: {reason}")
    temporary.replace(
        shelf / "current",
        f"{fields['Version']} {fields['SHA256']} {file} {_expired(shelf, suite)}\n",
    )


def _download_set(
    names: Sequence[str], metapackage: str, suite: str, toolchain: Toolchain, shelf: Path
) -> None:
    _update(suite, toolchain, shelf)
    planned = _ask(
        toolchain, shelf, "apt-get", "-s", "-qq", "--no-install-recommends", "install", *names
    )
    wanted = [line.split()[1] for line in planned if line.startswith("Inst ")]
    stands_for = re.compile(r"^ +Depends: (linux-(?:base|binary|image|modules)-\S+)$")
    ahead = [metapackage]
    while ahead:
        for line in _ask(toolchain, shelf, "apt-cache", "depends", ahead.pop()):
            if (match := stands_for.match(line)) and match[1] not in wanted:
                wanted.append(match[1])
                ahead.append(match[1])
    for path in (shelf / "current", *shelf.glob("*.deb")):  # a note of files that are gone is none
        _throw_away(path)
    # apt checks each file against the index, and the index against its signature.
    _ask(toolchain, shelf, "apt-get", "-qq", "download", *wanted, network=True)
    date = _expired(shelf, suite)
    lines = []
    for path in sorted(shelf.glob("*.deb")):
        version = path.name.split("_")[1].replace("%3a", ":")
        lines.append(f"{version} {digest.sha256(path)} {path.name} {date}".rstrip())
    temporary.replace(shelf / "current", "\n".join(lines) + "\n")


def _expired(shelf: Path, suite: str) -> str:
    """Return the date of the suite's index if it has expired, or an empty string."""
    for path in (shelf / "lists").glob(f"*_dists_{suite}_InRelease"):
        fields = email.message_from_string(path.read_text().partition("\n\n")[2])
        until = fields["Valid-Until"]
        if until and parsedate_to_datetime(until) < datetime.now(UTC):
            return parsedate_to_datetime(fields["Date"]).date().isoformat()
    return ""
