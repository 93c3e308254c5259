# SPDX-License-Identifier: GPL-2.0-only
"""A kernel source: its origin, its version, and a copy that is never changed."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError, RequestError
from kstep.source import debian
from kstep.source.git import Repository
from kstep.toolchain import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.toolchain import Toolchain

FORMS = "debian:6.1, path:DIR, git:DIR#REV or tar:FILE"
LINUX = ("Makefile", "Kconfig", "arch/arm64/Makefile")  # files of every arm64 kernel source
TREE_GIB = 3.0  # an unpacked source tree, and space to unpack it
CHUNK = 1 << 20


@dataclass(frozen=True)
class Tree:
    """A kernel source in the cache.

    ``id`` is what the user wrote, ``version`` the version in its Makefile (with the package's
    version, the commit, or git's description if there is one), ``sha256`` the hash of the
    package, archive or files. Nothing ever writes below ``source``.
    """

    id: str
    version: str
    sha256: str
    source: Path


@dataclass(frozen=True)
class TreeRequest:
    """A requested tree, checked as far as possible without fetching it."""

    id: str
    kind: str
    location: str

    def get(self, toolchain: Toolchain, cache: Cache, progress: Progress) -> Tree:
        """Fetch and unpack the tree, or return the cached copy."""
        cache.require_space(TREE_GIB, f"the source of {self.id}")
        with progress.task(f"tree {self.id}") as task:
            tree = GETTERS[self.kind](self, toolchain, cache, progress)
            task.note(tree.version)
        if self.kind == "git" and _repository(self.id, self.location).is_dirty():
            progress.say(f"tree {self.id}: uncommitted changes are ignored")
        return tree


def parse(text: str) -> TreeRequest:
    """Read one of FORMS; raises RequestError if it is invalid or does not exist."""
    kind, _, location = text.partition(":")
    if kind not in GETTERS or not location:
        raise RequestError(f"tree {text}: must be {FORMS}")
    if kind == "debian":
        if not re.fullmatch(r"\d+\.\d+", location):
            known = ", ".join(f"debian:{version}" for version in debian.USUAL)
            raise RequestError(f"tree {text}: name a version, such as {known}")
    elif kind == "path":
        _require_linux(text, Path(location))
    elif kind == "tar":
        if not Path(location).is_file():
            raise RequestError(f"tree {text}: no such file")
    else:
        _commit(text, location)
    return TreeRequest(text, kind, location)


def _require_linux(text: str, folder: Path) -> None:
    if not folder.is_dir():
        raise RequestError(f"tree {text}: no such folder")
    if not all((folder / name).is_file() for name in LINUX):
        raise RequestError(f"tree {text}: is not a Linux source with arch/arm64")
    if not re.match(r"\d+\.\d+", makefile_version(folder)):
        raise RequestError(f"tree {text}: its Makefile has no VERSION and PATCHLEVEL")


def makefile_version(source: Path) -> str:
    """Return the version in the top Makefile of a kernel source."""
    makefile = (source / "Makefile").read_text(errors="replace")
    fields = dict(re.findall(r"^(\w+) *= *(\S*)$", makefile, re.MULTILINE))
    numbers = [fields.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    return ".".join(filter(None, numbers)) + str(fields.get("EXTRAVERSION", ""))


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _entry(
    request: TreeRequest,
    sha256: str,
    cache: Cache,
    make: Callable[[Path], None],
    state: str = "",
) -> Tree:
    def make_linux(into: Path) -> None:
        make(into)
        _require_linux(request.id, into / "source")

    source = cache.entry("trees", sha256[:16], make_linux) / "source"
    version = makefile_version(source)
    if state:
        version = f"{version} ({state})"
    return Tree(request.id, version, sha256, source)


def _untar(archive: Path, into: Path, toolchain: Toolchain) -> None:
    source = into / "source"
    source.mkdir()
    toolchain.own(source)
    argv = ["tar", "--extract", "--strip-components=1", "--no-same-owner", "--file", str(archive)]
    toolchain.run(argv, cwd=source, readable=[archive.parent], writable=[into])


def _debian(request: TreeRequest, toolchain: Toolchain, cache: Cache, progress: Progress) -> Tree:
    package = debian.kernel_source(request.location, toolchain, cache, progress.say)

    def make(into: Path) -> None:
        unpacked = into / "package"
        unpacked.mkdir()
        toolchain.own(toolchain.own(into) / "package")
        debian.unpack(package, unpacked, toolchain)
        _untar(next(unpacked.glob("usr/src/linux-source-*.tar.xz")), into, toolchain)
        toolchain.run(["rm", "-r", "package"], cwd=into, writable=[into])

    return _entry(
        request, package.sha256, cache, make, f"{package.name} {package.version}, {package.origin}"
    )


def _tar(request: TreeRequest, toolchain: Toolchain, cache: Cache, _progress: Progress) -> Tree:
    archive = Path(request.location).absolute()

    def make(into: Path) -> None:
        try:
            _untar(archive, into, toolchain)
        except CommandError as error:
            said = next(filter(None, (*error.details, str(error))))
            raise RequestError(
                f"tree {request.id}: tar cannot unpack it: {said};"
                " download it again, or unpack it and name path:DIR"
            ) from error
        top = sorted(path.name for path in (into / "source").iterdir())
        if "Makefile" not in top:
            raise RequestError(
                f"tree {request.id}: its top folder has {', '.join(top[:3]) or 'nothing'};"
                " a kernel's files must be in one top folder, as in kernel.org's archives"
            )

    return _entry(request, _hash(archive), cache, make)


def _path(request: TreeRequest, _toolchain: Toolchain, cache: Cache, _progress: Progress) -> Tree:
    folder = Path(request.location).absolute()
    names = _files(request.id, folder)
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        if path.is_symlink():
            content = f"link {path.readlink()}"
        else:
            content = f"{'program' if path.stat().st_mode & 0o100 else 'file'} {_hash(path)}"
        digest.update(os.fsencode(f"{name}\0{content}\n"))

    def make(into: Path) -> None:
        source = into / "source"
        source.mkdir()
        listed = into / "files"
        listed.write_bytes(os.fsencode("\0".join(names)))
        packed = ["tar", "-C", str(folder), "--create", "--null", f"--files-from={listed}"]
        # The user who builds may not be allowed to read the user's folder.
        pack = subprocess.Popen([*packed, "--mode=a+rX"], stdout=subprocess.PIPE)
        with pack:
            subprocess.run(["tar", "-C", str(source), "--extract"], stdin=pack.stdout, check=True)
        if pack.returncode:
            raise MachineryError(f"tree {request.id}: tar cannot read all of it")

    state = ""
    if (folder / ".git").exists():
        with suppress(RequestError):  # no commit yet
            state = Repository(folder, f"tree {request.id}").description()
    return _entry(request, digest.hexdigest(), cache, make, state)


def _files(text: str, folder: Path) -> list[str]:
    """Return the files of a source: those that git would commit, or all without git."""
    if (folder / ".git").exists():
        names = Repository(folder, f"tree {text}").files()
        found = (folder / name for name in names)  # a submodule's folder is not a file
    else:
        if (folder / ".config").exists() or (folder / "include/config").exists():
            raise RequestError(f"tree {text}: contains a build; run: make mrproper")
        found = folder.rglob("*")
    return sorted(str(p.relative_to(folder)) for p in found if p.is_symlink() or p.is_file())


def _repository(text: str, location: str) -> Repository:
    return Repository(Path(location.partition("#")[0]), f"tree {text}")


def _commit(text: str, location: str) -> str:
    _, _, revision = location.partition("#")
    if not revision:
        raise RequestError(f"tree {text}: the revision is missing: git:DIR#REV")
    return _repository(text, location).commit(revision)


def _git(request: TreeRequest, toolchain: Toolchain, cache: Cache, _progress: Progress) -> Tree:
    commit = _commit(request.id, request.location)
    archive = cache.folder("downloads", "git") / f"{commit}.tar"
    with cache.lock(f"git-{commit}"):
        if not archive.exists():
            scratch = archive.with_suffix(".new")
            _repository(request.id, request.location).archive(commit, "linux", scratch)
            scratch.rename(archive)
    sha256 = _hash(archive)
    make = functools.partial(_untar, archive, toolchain=toolchain)
    return _entry(request, sha256, cache, make, f"commit {commit[:12]}")


GETTERS: dict[str, Callable[[TreeRequest, Toolchain, Cache, Progress], Tree]] = {
    "debian": _debian,
    "path": _path,
    "git": _git,
    "tar": _tar,
}
