# SPDX-License-Identifier: GPL-2.0-only
"""The folder in which downloads, source trees, kernels and guests are kept between runs."""

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
KINDS = ("bisect", "build", "ccache", "downloads", "guests", "kernels", "locks", "trees")


@dataclass(frozen=True)
class Cache:
    """One folder, safe for several kstep processes at a time.

    An entry is made in a folder of its own and renamed into place, so that an entry
    that exists is whole.
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

        make cuts a name at blanks, and the kernel's Makefile refuses colons with them.
        """
        if re.search(r"[\s:]", str(self.root)):
            raise RequestError(
                f"cache {str(self.root)!r}: kernels cannot be built in a folder with blanks or"
                " colons; set KSTEP_CACHE to another one"
            )

    def folder(self, *parts: str) -> Path:
        """A folder below the root, made if need be."""
        path = self.root.joinpath(*parts)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineryError(
                f"{path}: cannot be made: {error.strerror};"
                " set KSTEP_CACHE to a folder that can be written to"
            ) from error
        return path

    def clear(self) -> None:
        """Remove what is kept; KSTEP_CACHE may name a folder that has other things in it too."""
        for kind in KINDS:
            if (self.root / kind).exists():
                shutil.rmtree(self.root / kind)
        with suppress(OSError):  # it is not there, or not empty
            self.root.rmdir()

    @contextmanager
    def lock(self, name: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock ``name``: one process at a time, released when it dies.

        ``on_wait`` is called first where another process has it: that may take minutes.
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
        """Return the folder ``kind/key``, made by ``make`` where it is not there yet.

        One that ``damage`` gives a reason against, or that is a symbolic link, is thrown away
        and made again, which ``say`` is told in one line.
        """
        final = self.root / kind / key
        with self.lock(f"{kind}-{key}"):
            if os.path.lexists(final):
                reason = "it is no folder" if _is_no_folder(final) else damage(final)
                if reason is None:
                    return final
                say(f"cache: {kind}/{key} is made again: {reason}")
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

    def _throw_away(self, entry: Path) -> None:
        """Remove an entry, and nothing that it leads to; it is gone at once, or MachineryError."""
        aside = Path(tempfile.mkdtemp(prefix=f".{temporary.prefix()}", dir=entry.parent))
        try:
            entry.rename(aside / "damaged")
        except OSError as error:
            aside.rmdir()
            raise MachineryError(
                f"{entry}: cannot be removed: {error.strerror}; remove it, or set KSTEP_CACHE"
            ) from error
        if _is_no_folder(aside / "damaged"):
            (aside / "damaged").unlink()
        shutil.rmtree(aside, ignore_errors=True)

    def require_space(self, gib: float, what: str) -> None:
        """Raise where the disk has not ``gib`` GiB left for ``what``."""
        free = shutil.disk_usage(self.folder()).free / GIB
        if free < gib:
            raise MachineryError(
                f"{self.root}: {what} needs {gib:.0f} GiB and {free:.1f} are free;"
                " run ./inv clean, or set KSTEP_CACHE to a folder on a larger disk"
            )


def _is_no_folder(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir()
