# SPDX-License-Identifier: GPL-2.0-only
"""Files of one machine on another: packed into a parcel, sent in pieces, checked, unpacked.

A parcel is named by the key of its content. What is unpacked stays in the cache, so it is sent to
a machine once.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import digest, temporary
from kstep.base.errors import MachineryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kstep.base.cache import Cache

PIECE = 2 << 20  # bytes that are sent at a time
KIND = "shipped"  # of the cache's entries that came from elsewhere; parcels are what is sent
MANIFEST, CONTENT = "manifest.json", "content"
CHECKED = 100  # files of a parcel that are compared with their hashes at each use, at the most


@dataclass(frozen=True)
class Parcel:
    """A file or folder to be sent; ``key`` names its content, ``name`` is its last component.

    ``kind`` is what it is, for people: kernels, guests, scripts or trees.
    """

    key: str
    name: str
    kind: str


def found(cache: Cache, parcel: Parcel) -> Path | None:
    """Return where the content is in this machine's cache, undamaged; None if it is not."""
    for built in (
        cache.root / "kernels" / parcel.key,
        cache.root / "trees" / parcel.key / "source",
    ):
        if built.name == parcel.name and built.is_dir():
            return built
    entry = cache.root / KIND / parcel.key
    if not entry.is_dir() or damage(entry) is not None:
        return None
    return entry / CONTENT / parcel.name


def pack(cache: Cache, parcel: Parcel, content: Path) -> tuple[Path, str]:
    """Pack a file or folder, once; returns the packed file and its hash."""
    folder = cache.folder("parcels")
    final = folder / f"{parcel.key}.tar.gz"
    with cache.lock(f"parcels-{parcel.key}"):
        if not final.exists():
            part = folder / f".{temporary.prefix()}{final.name}"
            argv = ["tar", "-C", str(content.parent), "--sort=name", "--mode=a+rX"]
            argv += ["--use-compress-program=gzip -1", "-cf", str(part), "--", content.name]
            try:
                _run(argv)
                part.rename(final)
            finally:
                part.unlink(missing_ok=True)
    return final, digest.sha256(final)


class Arrival:
    """A parcel that arrives in pieces, each after the one before; unpacked when it is complete."""

    def __init__(self, cache: Cache, parcel: Parcel) -> None:
        self._cache, self._parcel = cache, parcel
        handle, name = tempfile.mkstemp(
            prefix=f".{temporary.prefix()}", dir=cache.folder("parcels")
        )
        os.close(handle)
        self._path = Path(name)

    def take(self, piece: bytes) -> None:
        """Append a piece."""
        with self._path.open("ab") as stream:
            stream.write(piece)

    def unpack(self, sha256: str) -> Path:
        """Check it, and return its content's place; MachineryError if it is not what was sent."""
        if digest.sha256(self._path) != sha256:
            raise MachineryError(f"{self._parcel.name}: damaged on its way here")

        def make(into: Path) -> None:
            (into / CONTENT).mkdir()
            _run(["tar", "-C", str(into / CONTENT), "--no-same-owner", "-xf", str(self._path)])
            files = list(_files(into / CONTENT))
            known = (
                {}
                if len(files) > CHECKED
                else {str(path.relative_to(into / CONTENT)): digest.sha256(path) for path in files}
            )
            (into / MANIFEST).write_text(json.dumps(known))

        entry = self._cache.entry("shipped", self._parcel.key, make, damage)
        return entry / CONTENT / self._parcel.name

    def drop(self) -> None:
        """Remove what has arrived."""
        self._path.unlink(missing_ok=True)


def damage(entry: Path) -> str | None:
    """Return why an entry must not be used; None if it is as it arrived."""
    if reason := digest.foreign(entry, stat.S_IFDIR):
        return reason
    try:
        known = json.loads((entry / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        return f"{MANIFEST}: {error}"
    wrong: Iterable[str | None] = (
        digest.foreign(entry / CONTENT / name) or digest.differs(entry / CONTENT / name, recorded)
        for name, recorded in known.items()
    )
    return next(filter(None, wrong), None)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise MachineryError(f"tar: {said[0]}")
