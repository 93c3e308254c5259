# SPDX-License-Identifier: GPL-2.0-only
"""What the altered files of a source were when its objects were made.

Kept beside the objects, so that a build knows what has changed since. It counts only while
nobody has altered the source without it: a kstep that knows no snapshots uses the same folders.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.build.dependency import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FILE, STAMP = "made.json", "altered.json"


@dataclass(frozen=True)
class Snapshot:
    """The versions of files, by their names in the source; those not named were as in the tree."""

    folder: Path
    files: Mapping[str, Version]

    @classmethod
    def take(cls, folder: Path, source: Path, names: Iterable[str]) -> Snapshot:
        """Read the files of a source whose objects, in ``folder``, are all made."""
        return cls(folder, {name: _version(source / name) for name in names})

    @classmethod
    def load(cls, folder: Path) -> Snapshot | None:
        """Return the one that was kept; None if there is none that counts."""
        try:
            kept = json.loads((folder / FILE).read_text())
        except OSError:
            return None
        if kept["stamp"] != _stamp(folder):
            return None
        files = {
            name: Version(None if content is None else content.encode("latin-1"), time)
            for name, (content, time) in kept["files"].items()
        }
        return cls(folder, files)

    def keep(self) -> None:
        """Write it; the source has been altered as far as it will be."""
        files = {
            name: (None if each.content is None else each.content.decode("latin-1"), each.time)
            for name, each in self.files.items()
        }
        content = json.dumps({"stamp": _stamp(self.folder), "files": files})
        temporary.replace(self.folder / FILE, content)

    def since(self, tree: Path, source: Path, names: Iterable[str]) -> Snapshot:
        """Return it with more files, if it is known what they were: not altered so far."""
        more = {
            name: _version(source / name)
            for name in names
            if name not in self.files and _is_linked(tree / name, source / name)
        }
        return Snapshot(self.folder, {**self.files, **more})

    def restore_times(self, source: Path) -> None:
        """Give each file that is again what it was the time that it had: its objects are right."""
        for name, version in self.files.items():
            path = source / name
            now = _version(path)
            is_again = version.content is not None and now.content == version.content
            if is_again and now.time != version.time and path.stat().st_nlink == 1:
                os.utime(path, ns=(version.time, version.time))


def _is_linked(pristine: Path, path: Path) -> bool:
    """Whether a file of the source is still that of the tree."""
    return pristine.is_file() and path.is_file() and path.samefile(pristine)


def forget(folder: Path) -> None:
    """Remove what was kept, because objects are about to change."""
    (folder / FILE).unlink(missing_ok=True)


def _version(path: Path) -> Version:
    if not path.is_file():
        return Version(None, 0)
    return Version(path.read_bytes(), path.stat().st_mtime_ns)


def _stamp(folder: Path) -> int:
    return (folder / STAMP).stat().st_mtime_ns
