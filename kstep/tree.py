# SPDX-License-Identifier: GPL-2.0-only
"""A kernel source: where it comes from, which version it is, and a copy that stays as it is."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep import debian
from kstep.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.cache import Cache
    from kstep.progress import Progress
    from kstep.toolchain import Toolchain

FORMS = "debian:6.1, path:DIR, git:DIR#REV or tar:FILE"
TREE_GIB = 3.0  # a source tree, unpacked, with room to move
CHUNK = 1 << 20


@dataclass(frozen=True)
class Tree:
    """A kernel source in the cache.

    ``id`` is what the user wrote, ``version`` what its Makefile says (with the package's
    version where it came in one), ``sha256`` the hash of the package, archive or files.
    Nothing ever writes below ``source``.
    """

    id: str
    version: str
    sha256: str
    source: Path


@dataclass(frozen=True)
class Request:
    """A tree that was asked for, and checked as far as it can be without fetching it."""

    id: str
    kind: str
    place: str

    def get(self, toolchain: Toolchain, cache: Cache, progress: Progress) -> Tree:
        """Fetch and unpack the tree, or take the copy at hand."""
        cache.require_space(TREE_GIB, f"the source of {self.id}")
        with progress.task(f"tree {self.id}") as task:
            tree = GETTERS[self.kind](self, toolchain, cache)
            task.note(tree.version)
        return tree


def parse(text: str) -> Request:
    """Read one of FORMS; raises RequestError where it is none or names nothing."""
    kind, _, place = text.partition(":")
    if kind not in GETTERS or not place:
        raise RequestError(f"tree {text}: a tree is {FORMS}")
    if kind == "debian":
        if place not in debian.SUITES:
            there = ", ".join(f"debian:{version}" for version in debian.SUITES)
            raise RequestError(f"tree {text}: there is {there}")
    elif kind == "path":
        _require_linux(text, Path(place))
    elif kind == "tar":
        if not Path(place).is_file():
            raise RequestError(f"tree {text}: there is no such file")
    else:
        _commit(text, place)
    return Request(text, kind, place)


def _require_linux(text: str, folder: Path) -> None:
    if not folder.is_dir():
        raise RequestError(f"tree {text}: there is no such folder")
    if not (folder / "arch/arm64/Makefile").is_file() or not (folder / "Kconfig").is_file():
        raise RequestError(f"tree {text}: this is no Linux source with arch/arm64")


def makefile_version(source: Path) -> str:
    """Return the version that the top Makefile of a kernel source states."""
    fields = dict(re.findall(r"^(\w+) *= *(\S*)$", (source / "Makefile").read_text(), re.MULTILINE))
    numbers = [fields.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    return ".".join(filter(None, numbers)) + str(fields.get("EXTRAVERSION", ""))


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _entry(
    request: Request,
    sha256: str,
    cache: Cache,
    make: Callable[[Path], None],
    package_version: str = "",
) -> Tree:
    folder = cache.entry("trees", sha256[:16], make)
    source = folder / "source"
    _require_linux(request.id, source)
    version = makefile_version(source)
    if package_version:
        version = f"{version} ({package_version})"
    return Tree(request.id, version, sha256, source)


def _untar(archive: Path, into: Path, toolchain: Toolchain) -> None:
    source = into / "source"
    source.mkdir()
    toolchain.own(source)
    argv = ["tar", "--extract", "--strip-components=1", "--no-same-owner", "--file", str(archive)]
    toolchain.run(argv, cwd=source, readable=[archive.parent], writable=[into])


def _debian(request: Request, toolchain: Toolchain, cache: Cache) -> Tree:
    package = debian.kernel_source(request.place, toolchain, cache)

    def make(into: Path) -> None:
        unpacked = into / "package"
        unpacked.mkdir()
        toolchain.own(toolchain.own(into) / "package")
        debian.unpack(package, unpacked, toolchain)
        _untar(next(unpacked.glob("usr/src/linux-source-*.tar.xz")), into, toolchain)
        toolchain.run(["rm", "-r", "package"], cwd=into, writable=[into])

    return _entry(request, package.sha256, cache, make, f"{package.name} {package.version}")


def _tar(request: Request, toolchain: Toolchain, cache: Cache) -> Tree:
    archive = Path(request.place).absolute()
    return _entry(request, _hash(archive), cache, lambda into: _untar(archive, into, toolchain))


def _path(request: Request, _toolchain: Toolchain, cache: Cache) -> Tree:
    folder = Path(request.place).absolute()
    names = _files(folder)
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        content = str(path.readlink()) if path.is_symlink() else _hash(path)
        digest.update(f"{name}\0{content}\n".encode())

    def make(into: Path) -> None:
        source = into / "source"
        source.mkdir()
        listed = into / "files"
        listed.write_text("\0".join(names))
        packed = ["tar", "-C", str(folder), "--create", "--null", f"--files-from={listed}"]
        # Whoever builds need not be the one who may read the user's folder.
        pack = subprocess.Popen([*packed, "--mode=a+rX"], stdout=subprocess.PIPE)
        with pack:
            subprocess.run(["tar", "-C", str(source), "--extract"], stdin=pack.stdout, check=True)
        if pack.returncode:
            raise MachineryError(f"tree {request.id}: tar cannot read all of it")

    return _entry(request, digest.hexdigest(), cache, make)


def _files(folder: Path) -> list[str]:
    """Return what belongs to a source: what git would commit, or all that there is."""
    if (folder / ".git").exists():
        argv = ["git", "-C", str(folder), "ls-files", "-z", "-co", "--exclude-standard"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        names = [
            name for name in done.stdout.split("\0") if name and os.path.lexists(folder / name)
        ]
    else:
        if (folder / ".config").exists() or (folder / "include/config").exists():
            raise RequestError(f"tree path:{folder}: it has been built in; run: make mrproper")
        names = [
            str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_symlink() or p.is_file()
        ]
    return sorted(names)


def _commit(text: str, place: str) -> str:
    folder, _, revision = place.partition("#")
    if not revision:
        raise RequestError(f"tree {text}: the revision is missing: git:DIR#REV")
    argv = ["git", "-C", folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RequestError(f"tree {text}: {folder} has no revision {revision}")
    return str(done.stdout).strip()


def _git(request: Request, toolchain: Toolchain, cache: Cache) -> Tree:
    commit = _commit(request.id, request.place)
    folder = request.place.partition("#")[0]
    archive = cache.folder("downloads", "git") / f"{commit}.tar"
    if not archive.exists():
        scratch = archive.with_suffix(".new")
        argv = [
            "git",
            "-C",
            folder,
            "archive",
            "--format=tar",
            "--prefix=linux/",
            "-o",
            str(scratch),
            commit,
        ]
        subprocess.run(argv, check=True, capture_output=True)
        scratch.rename(archive)
    sha256 = _hash(archive)
    return _entry(request, sha256, cache, lambda into: _untar(archive, into, toolchain))


GETTERS: dict[str, Callable[[Request, Toolchain, Cache], Tree]] = {
    "debian": _debian,
    "path": _path,
    "git": _git,
    "tar": _tar,
}
