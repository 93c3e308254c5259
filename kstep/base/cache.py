# SPDX-License-Identifier: GPL-2.0-only
"""The folder in which downloads, source trees, kernels and guests are kept between runs."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from kstep.base.errors import MachineryError

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

    def entry(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """Return the folder ``kind/key``, made by ``make`` where it is not there yet."""
        final = self.root / kind / key
        with self.lock(f"{kind}-{key}"):
            if final.exists():
                return final
            scratch = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=self.folder(kind)))
            try:
                scratch.chmod(0o755)
                make(scratch)
                scratch.rename(final)
            except BaseException:
                shutil.rmtree(scratch, ignore_errors=True)
                raise
        return final

    def require_space(self, gib: float, what: str) -> None:
        """Raise where the disk has not ``gib`` GiB left for ``what``."""
        free = shutil.disk_usage(self.folder()).free / GIB
        if free < gib:
            raise MachineryError(
                f"{self.root}: {what} needs {gib:.0f} GiB and {free:.1f} are free;"
                " run ./inv clean, or set KSTEP_CACHE to a folder on a larger disk"
            )
