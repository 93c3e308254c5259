# SPDX-License-Identifier: GPL-2.0-only
"""The request of a bisection: a session, and the two ends of a history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base.document import nearest
from kstep.base.errors import RequestError
from kstep.build import kconfig
from kstep.results.cell import cell_name
from kstep.results.rate import CONFIDENCE
from kstep.session import selection
from kstep.source import tree as trees
from kstep.source.git import Repository

if TYPE_CHECKING:
    from kstep.build.kconfig import KconfigRequest
    from kstep.session.session import Session


@dataclass(frozen=True)
class BisectRequest:
    """A validated request: every part exists; nothing has been fetched or built."""

    root: Path
    repository: Repository
    good: str
    bad: str
    session: Session
    case: str | None
    kconfig: KconfigRequest
    confidence: float

    @property
    def selector(self) -> str:
        """What selects the session from any folder."""
        path = self.session.own_file
        return self.session.name if path is None else f"{path}::{self.session.name}"

    @property
    def what(self) -> str:
        """The session, with the case in brackets if there is one."""
        return cell_name(self.session.name, self.case)


def look_up(
    root: Path,
    *,
    tree: str,
    good: str,
    bad: str,
    session_name: str,
    function: str = "",
    kconfig_name: str = kconfig.BASE,
    confidence: float = CONFIDENCE,
) -> BisectRequest:
    """Look everything up; raises RequestError for what does not exist or is invalid."""
    kind, _, folder = tree.partition(":")
    if kind != "git" or not folder or "#" in folder:
        raise RequestError(f"--tree {tree}: must be a repository for a bisection: git:DIR")
    if not 0.5 <= confidence < 1:  # noqa: PLR2004 -- below 0.5 is worse than a coin
        raise RequestError(
            f"--confidence {confidence}: must be at least 0.5 and below 1, such as 0.95"
        )
    selected = selection.select(root / "tests/sessions", [session_name]).sessions
    if len(selected) > 1:
        raise RequestError(f"--session {session_name}: is {len(selected)} sessions; name one")
    script = selected[0]
    names = [name for name in script.case_names if name]
    if function and function not in names:
        raise RequestError(
            f'--function "{function}" is not a case of {session_name}; {nearest(function, names)}'
        )
    config = kconfig.load(kconfig_name, root / kconfig.FOLDER)
    kconfig.require_some({session_name: script.needs}, [config], root / kconfig.FOLDER)
    repository = Repository(Path(folder), f"tree {tree}")
    return BisectRequest(
        root,
        repository,
        *_ends(repository, good, bad),
        script,
        function or script.case_names[0],
        config,
        confidence,
    )


def _ends(repository: Repository, good: str, bad: str) -> tuple[str, str]:
    """Return the names of both commits; the bad one must be a descendant of the good one."""
    first, last = repository.commit(good), repository.commit(bad)
    if first == last:
        raise RequestError(f"--good {good} and --bad {bad} are the same commit; name two")
    if repository.is_ancestor(last, first):
        raise RequestError(
            f"--good {good} came after --bad {bad}; swap them (bisect finds the commit that broke"
            " a session, not the one that fixed it)"
        )
    if not repository.is_ancestor(first, last):
        raise RequestError(
            f"--bad {bad} is not a descendant of --good {good}; name an ancestor of it as good"
        )
    if not repository.has(last, trees.LINUX):
        raise RequestError(f"{repository.named}: {bad} is not a Linux source with arch/arm64")
    return first, last
