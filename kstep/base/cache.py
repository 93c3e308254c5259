# SPDX-License-Identifier: GPL-2.0-only
"""The folder that keeps downloads, source trees, kernels and guests between runs."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from kstep.base import temporary
from kstep.base.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GIB = 1 << 30
KINDS = (
    *("bisect", "build", "ccache", "downloads", "guests", "hosts", "kernels", "locks"),
    *("parcels", "shipped", "trees"),
)


@dataclass(frozen=True)
class Cache:
    """One folder, safe for several kstep processes at a time.

    An entry is made in a temporary folder and renamed, so an entry that exists is complete.
    """

    root: Path

    @classmethod
    def default(cls) -> Cache:
        """``$KSTEP_CACHE``, or ``kstep`` in the user's cache folder."""
        chosen = os.environ.get("KSTEP_CACHE")
        if chosen:
            return cls(Path(chosen).absolute())
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(base) / "kstep")

    @property
    def scratch_folders(self) -> list[Path]:
        """Where entries are made, in folders that are temporary."""
        return [self.root / kind for kind in KINDS]

    def require_buildable(self) -> None:
        """Raise RequestError for a folder in which no kernel can be built.

        make splits names at blanks, and the kernel's Makefile refuses blanks and colons.
        """
        if re.search(r"[\s:]", str(self.root)):
            raise RequestError(
                f"cache {str(self.root)!r}: kernels cannot be built in a folder with blanks or"
                " colons; set KSTEP_CACHE to another one"
            )

    def folder(self, *parts: str) -> Path:
        """Return a folder below the root; make it if it does not exist."""
        path = self.root.joinpath(*parts)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineryError(
                f"cannot make {path}: {error.strerror}; set KSTEP_CACHE to a writable folder"
            ) from error
        return path

    def clear(self) -> None:
        """Remove the cache's entries, and nothing else that is in its folder."""
        for kind in KINDS:
            if (self.root / kind).exists():
                shutil.rmtree(self.root / kind)
        with suppress(OSError):  # it does not exist, or is not empty
            self.root.rmdir()

    @contextmanager
    def lock(self, name: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock ``name``: one process at a time, released when it dies.

        ``on_wait`` is called before waiting for another process, which may take minutes.
        """
        lock = FileLock(self.folder("locks") / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def entry(
        self,
        kind: str,
        key: str,
        make: Callable[[Path], None],
        damage: Callable[[Path], str | None] = lambda _folder: None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> Path:
        """Return the folder ``kind/key``; ``make`` makes it if it does not exist.

        If ``damage`` returns a reason, or if it is a symbolic link, it is deleted and made again,
        and ``say`` is called with a line about it.
        """
        final = self.root / kind / key
        with self.lock(f"{kind}-{key}"):
            if os.path.lexists(final):
                reason = "it is not a folder" if _is_no_folder(final) else damage(final)
                if reason is None:
                    return final
                say(f"cache: making {kind}/{key} again: {reason}")
                self._throw_away(final)
            scratch = Path(tempfile.mkdtemp(prefix=f".{temporary.prefix()}", dir=self.folder(kind)))
            try:
                scratch.chmod(0o755)
                make(scratch)
                scratch.rename(final)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
        return final

    def drop(self, kind: str, key: str) -> None:
        """Remove an entry, if it exists."""
        with self.lock(f"{kind}-{key}"):
            if os.path.lexists(self.root / kind / key):
                self._throw_away(self.root / kind / key)

    def _throw_away(self, entry: Path) -> None:
        """Remove an entry, but no target of a link in it; MachineryError if that fails."""
        aside = Path(tempfile.mkdtemp(prefix=f".{temporary.prefix()}", dir=entry.parent))
        try:
            entry.rename(aside / "damaged")
        except OSError as error:
            aside.rmdir()
            raise MachineryError(
                f"cannot remove {entry}: {error.strerror}; remove it, or set KSTEP_CACHE"
            ) from error
        if _is_no_folder(aside / "damaged"):
            (aside / "damaged").unlink()
        shutil.rmtree(aside, ignore_errors=True)

    def require_space(self, gib: float, what: str) -> None:
        """Raise MachineryError if the disk has less than ``gib`` GiB free for ``what``."""
        free = shutil.disk_usage(self.folder()).free / GIB
        if free < gib:
            raise MachineryError(
                f"{self.root}: {what} needs {gib:.0f} GiB, but only {free:.1f} are free;"
                " run ./inv clean, or set KSTEP_CACHE to a folder on a larger disk"
            )


def _is_no_folder(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir()
