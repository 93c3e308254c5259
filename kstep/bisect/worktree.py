# SPDX-License-Identifier: GPL-2.0-only
"""The private work tree of a bisection: the user's repository is only read.

Its objects are borrowed, not copied. All revisions are checked out into the same folder and built
into the same folder of objects, so each build compiles only what differs from the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.source.git import Git

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.source.git import Repository


@dataclass(frozen=True)
class WorkTree:
    """The folder where revisions are checked out and built: a repository without own commits."""

    folder: Path

    @property
    def source(self) -> Path:
        """The files that are checked out."""
        return self.folder / "source"

    @property
    def command(self) -> Git:
        """Git for this work tree."""
        return Git.private(self._repository.absolute(), self.source.absolute())

    @property
    def _repository(self) -> Path:
        return self.folder / "repository"

    def git(self, *arguments: str) -> str:
        """Run git to its end; raises MachineryError with its output if it fails."""
        done = self.command.run(*arguments)
        if done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace")
            words = tuple(said.strip().splitlines()[-5:])
            raise MachineryError(f"git {arguments[0]} failed in {self.folder}", details=words)
        return done.stdout.decode(errors="replace")

    def borrow(self, repository: Repository) -> None:
        """Use the objects of the user's repository."""
        self.source.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet")
        own = self._repository
        (own / "objects/info/alternates").write_text(f"{repository.path('objects')}\n")
        (own / "BISECT_START").unlink(missing_ok=True)  # left by an interrupted bisection
        (own / "index.lock").unlink(missing_ok=True)
        shallow = repository.path("shallow")
        if shallow.exists():  # the boundary of a shallow history
            (own / "shallow").write_bytes(shallow.read_bytes())

    def check_out(self, commit: str) -> None:
        """Check a commit out; unchanged files keep their times."""
        self.git("checkout", "--quiet", "--force", "--detach", commit)

    def commit(self) -> str:
        """Return the commit that is checked out."""
        return self.git("rev-parse", "HEAD").strip()

    def subject(self, commit: str) -> str:
        """Return the first line of a commit's message."""
        return self.git("show", "--no-patch", "--format=%s", commit).strip()

    def content(self, commit: str) -> str:
        """Return git's hash of the files of a commit."""
        return self.git("rev-parse", f"{commit}^{{tree}}").strip()
