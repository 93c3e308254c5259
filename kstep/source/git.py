# SPDX-License-Identifier: GPL-2.0-only
"""git, always run on the named repository, whatever its environment says.

In a hook, a step of a bisection or an alias, git's environment names a repository. A git that is
run from there uses that one, whatever folder it is in (git(1), "The Git Repository"). So a
command gets none of the GIT_* variables except the few that say how to reach or read a
repository, not which (KEPT).
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kstep.base.document import nearest
from kstep.base.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from subprocess import CompletedProcess

# The location of the user's configuration, and how to fetch blobs of a partial clone.
KEPT = (
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_SYSTEM",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    "GIT_EXEC_PATH",
    "GIT_PROXY_COMMAND",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
)
# git's messages are parsed, so they must be English; it must not ask questions or start a
# pager. gettext prefers LANGUAGE even to C.UTF-8.
PLAIN = {
    "LC_ALL": "C.UTF-8",
    "LANGUAGE": "",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_PAGER": "cat",
    "GIT_OPTIONAL_LOCKS": "0",  # do not even write the index of a repository that is only read
}
NO_CONFIGURATION = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
# Settings that a user's or a repository's configuration must not change: a revision must give the
# same files, and a commit the same patch, for everybody.
SETTINGS = {
    "color.ui": "false",
    "core.attributesFile": os.devnull,
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "diff.context": "3",
    "diff.interHunkContext": "0",
    "diff.suppressBlankEmpty": "false",
    "i18n.logOutputEncoding": "UTF-8",
    "log.showSignature": "false",
    "tar.umask": "0002",
}
PATCH_OPTIONS = (
    "--numbered",
    "--subject-prefix=PATCH",
    "--no-add-header",
    "--no-attach",
    "--no-base",
    "--no-cc",
    "--no-color",
    "--no-cover-letter",
    "--no-ext-diff",
    "--no-from",
    "--no-notes",
    "--no-relative",
    "--no-signature",
    "--no-textconv",
    "--no-thread",
    "--no-to",
    "--find-renames",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    f"-O{os.devnull}",
)
SHOWN = 12  # branches and tags that an error lists


@dataclass(frozen=True)
class Git:
    """How to run git for one purpose: the folder, the environment, overriding settings."""

    folder: Path
    environment: Mapping[str, str]
    settings: Mapping[str, str]

    @classmethod
    def of_user(cls, folder: Path) -> Self:
        """Read the repository of ``folder``, with the user's configuration."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("GIT_") or name in KEPT
        }
        return cls(folder, {**inherited, **_safe_directories(), **PLAIN}, SETTINGS)

    @classmethod
    def without_repository(cls, folder: Path = Path("/")) -> Self:
        """Work on files in ``folder`` without any repository or configuration.

        If the folder were in a checkout, git apply would silently skip files.
        """
        return cls(folder, {**_bare(), "GIT_DIR": os.devnull}, {})

    @classmethod
    def private(cls, repository: Path, work_tree: Path) -> Self:
        """Work in kstep's own repository, without configuration; both paths are absolute."""
        own = {"GIT_DIR": str(repository), "GIT_WORK_TREE": str(work_tree)}
        return cls(work_tree, {**_bare(), **own}, {})

    def argv(self, *arguments: str) -> list[str]:
        """Return the command, to run with ``environment``."""
        settings = [
            word for name, value in self.settings.items() for word in ("-c", f"{name}={value}")
        ]
        return ["git", "--no-pager", "-C", str(self.folder), *settings, *arguments]

    def run(self, *arguments: str, given: bytes = b"") -> CompletedProcess[bytes]:
        """Run git to its end, whatever its status; raises MachineryError if git is missing."""
        try:
            return subprocess.run(
                self.argv(*arguments),
                env=self.environment,
                input=given,
                capture_output=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise MachineryError("git is missing; install it: apt install git") from error


def _bare() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), **PLAIN, **NO_CONFIGURATION}


def _safe_directories() -> dict[str, str]:
    """Keep only safe.directory from the settings in the environment.

    Containers and CI set it there (git-config(1), safe.directory).
    """
    count = os.environ.get("GIT_CONFIG_COUNT", "")
    names = (
        os.environ.get(f"GIT_CONFIG_KEY_{n}", "")
        for n in range(int(count or 0) if count.isdecimal() else 0)
    )
    trusted = [
        os.environ.get(f"GIT_CONFIG_VALUE_{n}", "")
        for n, name in enumerate(names)
        if name.lower() == "safe.directory"
    ]
    kept = {"GIT_CONFIG_COUNT": str(len(trusted))} if trusted else {}
    for n, value in enumerate(trusted):
        kept |= {f"GIT_CONFIG_KEY_{n}": "safe.directory", f"GIT_CONFIG_VALUE_{n}": value}
    return kept


def reason(said: bytes) -> str:
    """Return in one line why git failed: its first error, or its first line if there is none."""
    lines = said.decode(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    first = (errors or lines or ["it gives no reason"])[0]
    return first.removeprefix("fatal: ").removeprefix("error: ")


@dataclass(frozen=True)
class Repository:
    """The user's repository in ``folder``, which is only read, never written.

    ``named`` is what the user wrote, for messages.
    """

    folder: Path
    named: str

    def ask(self, *arguments: str) -> str | None:
        """Return what git prints, decoded as file names are (os.fsdecode()).

        None if it fails with status 1 and no message. Raises RequestError with the message
        otherwise.
        """
        done = Git.of_user(self.folder).run(*arguments)
        if done.returncode and (done.stderr or done.returncode != 1):
            raise RequestError(f"{self.named}: git cannot read it: {reason(done.stderr)}")
        return None if done.returncode else os.fsdecode(done.stdout)

    def commit(self, revision: str) -> str:
        """Return the commit's full hash; raises RequestError if there is no such revision."""
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
        """Count the commits in ``new`` that are not in ``old``."""
        return int(self.ask("rev-list", "--count", f"{old}..{new}") or 0)

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether ``old`` is an ancestor of ``new``."""
        return self.ask("merge-base", "--is-ancestor", old, new) is not None

    def base(self, one: str, other: str) -> str | None:
        """Return the merge base of two commits; None if their histories share none."""
        found = self.ask("merge-base", one, other)
        return found and found.strip()

    def is_dirty(self) -> bool:
        """Whether the checkout has uncommitted changes to tracked files."""
        if (self.ask("rev-parse", "--is-inside-work-tree") or "").strip() != "true":
            return False
        return bool(self.ask("status", "--porcelain", "--untracked-files=no"))

    def has(self, commit: str, names: Sequence[str]) -> bool:
        """Whether all the files are in a commit."""
        listed = self.ask("ls-tree", "--full-tree", "--name-only", commit, "--", *names) or ""
        return len(listed.splitlines()) == len(names)

    def path(self, name: str) -> Path:
        """Return the path of git's own file or folder, such as ``objects``."""
        said = self.ask("rev-parse", "--path-format=absolute", "--git-path", name) or ""
        return Path(said.strip())

    def description(self) -> str:
        """Return git's name for the checkout, with -dirty if it has changes."""
        return (self.ask("describe", "--always", "--dirty") or "").strip()

    def files(self) -> list[str]:
        """Return the files below the folder that git would commit; some may be deleted."""
        said = self.ask("ls-files", "-z", "--cached", "--others", "--exclude-standard") or ""
        return [name for name in said.split("\0") if name]

    def archive(self, commit: str, prefix: str, into: Path) -> None:
        """Write the files of a commit as a tar, each below the folder ``prefix``."""
        self.ask(
            "archive", "--format=tar", f"--prefix={prefix}/", "-o", str(into.absolute()), commit
        )

    def format_patches(self, old: str, new: str, folder: Path) -> None:
        """Write the commits between two as patch files, in order, without merges."""
        into = f"-o{folder.absolute()}"
        self.ask("format-patch", "--quiet", *PATCH_OPTIONS, into, f"{old}..{new}")
