# SPDX-License-Identifier: GPL-2.0-only
"""A git repository of the user's: its commits are read, its checkout is never touched."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base.document import nearest
from kstep.base.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

# A patch is a patch, whatever the user's configuration makes of one.
PLAIN = (
    "--no-ext-diff",
    "--no-textconv",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--no-relative",
    "--no-signature",
)
FORMAT = ("--numbered", "--no-cover-letter", "--no-attach", "--no-thread", "--subject-prefix=PATCH")


SHOWN = 12  # branches and tags that an error lists


@dataclass(frozen=True)
class Repository:
    """The repository in ``folder``; ``named`` is what the user wrote, for messages."""

    folder: Path
    named: str

    def ask(self, *arguments: str) -> str | None:
        """Return what git prints; None where it says no without a word.

        Raises RequestError with the reason where it gives one.
        """
        try:
            done = subprocess.run(
                ["git", "-C", str(self.folder), *arguments],
                env=_environment(),
                capture_output=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise MachineryError("git is missing; install it: apt install git") from error
        if done.returncode and done.stderr:
            reason = done.stderr.decode(errors="replace").splitlines()[0].removeprefix("fatal: ")
            raise RequestError(f"{self.named}: git cannot read it: {reason}")
        return None if done.returncode else done.stdout.decode(errors="surrogateescape")

    def commit(self, revision: str) -> str:
        """Return the commit's full name; raises RequestError where there is no such revision."""
        wanted = f"{revision}^{{commit}}"
        found = self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", wanted)
        if not found or not revision:
            refs = (self.ask("for-each-ref", "--format=%(refname:short)") or "").split()
            near = nearest(revision, refs)
            if len(refs) > SHOWN and near.startswith("there are"):
                near = f"git -C {self.folder} branch and tag list them"
            raise RequestError(f'{self.named}: there is no revision "{revision}"; {near}')
        return found.strip()

    def count(self, old: str, new: str) -> int:
        """Count the commits that ``new`` has and ``old`` has not."""
        return int(self.ask("rev-list", "--count", f"{old}..{new}") or 0)

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether ``new`` came of ``old``."""
        return self.ask("merge-base", "--is-ancestor", old, new) is not None

    def is_dirty(self) -> bool:
        """Whether the checkout has changes to files of the repository that are in no commit."""
        if (self.ask("rev-parse", "--is-inside-work-tree") or "").strip() != "true":
            return False
        return bool(self.ask("status", "--porcelain", "--untracked-files=no"))

    def has(self, commit: str, names: Sequence[str]) -> bool:
        """Whether all the files are in a commit."""
        listed = self.ask("ls-tree", "--full-tree", "--name-only", commit, "--", *names) or ""
        return len(listed.splitlines()) == len(names)

    def path(self, name: str) -> Path:
        """Return where git keeps a thing, such as ``objects``."""
        said = self.ask("rev-parse", "--path-format=absolute", "--git-path", name) or ""
        return Path(said.strip())

    def format_patches(self, old: str, new: str, folder: Path) -> None:
        """Write the commits between two as patch files, in order; merges are left out."""
        self.ask("format-patch", "--quiet", *PLAIN, *FORMAT, f"-o{folder}", f"{old}..{new}")


def _environment() -> dict[str, str]:
    """The user's, but for what a git around us says of another repository."""
    others = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return {**kept, "LC_ALL": "C.UTF-8"}
