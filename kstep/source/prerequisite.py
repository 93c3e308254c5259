# SPDX-License-Identifier: GPL-2.0-only
"""What a series stands on: the patches that must be in the tree before it, as its mails name them.

git format-patch --base writes their patch ids, b4 their message ids and change ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kstep.source import thread
from kstep.source.git import Git

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kstep.source.series import Patch, Series

TRAILER = re.compile(
    rb"^prerequisite-(?P<kind>patch-id|message-id|change-id): *<?(?P<id>[^\s<>]+)>? *\r?$",
    re.MULTILINE,
)
SAID = re.compile(r"^(?P<kind>patch-id|message-id|change-id) (?P<id>\S+)$")  # in series.yaml
SHOWN = 12  # characters of a patch id


@dataclass(frozen=True)
class Prerequisite:
    """A patch, or with a message id or change id perhaps a whole series, that comes before.

    ``patches`` are those that it is, by their names "series/patch", if kstep knows them.
    """

    kind: str
    id: str
    patches: tuple[tuple[str, Patch], ...] = ()

    def __str__(self) -> str:
        if self.patches:
            return ", ".join(f'{name} "{patch.subject}"' for name, patch in self.patches)
        return f"{self.kind} {self.id[:SHOWN] if self.kind == 'patch-id' else self.id}"


def read(mails: Iterable[bytes]) -> tuple[Prerequisite, ...]:
    """Return what mails name, in their order, each once."""
    found = [match for mail in mails for match in TRAILER.finditer(thread.text(mail))]
    named = dict.fromkeys((match["kind"].decode(), match["id"].decode()) for match in found)
    return tuple(Prerequisite(kind, id_) for kind, id_ in named)


def listed(texts: Iterable[str]) -> tuple[Prerequisite, ...]:
    """Return those of a series.yaml, whose schema has checked their form."""
    return tuple(
        Prerequisite(match["kind"], match["id"]) for text in texts if (match := SAID.match(text))
    )


def look_up(series: Series, known: Sequence[Series]) -> Series:
    """Return a series, with its prerequisites found among the patches of others.

    One that is a patch of its own is none: somebody has put both into one series.
    """
    patches = [
        (f"{each.name}/{patch.id}", patch, _ids(patch) | {each.message_id})
        for each in (series, *(each for each in known if each.name != series.name))
        for patch in each.patches
    ]
    found = [
        replace(
            each, patches=tuple((name, patch) for name, patch, ids in patches if each.id in ids)
        )
        for each in series.prerequisites
    ]
    own = {f"{series.name}/{patch.id}" for patch in series.patches}
    others = (each for each in found if own.isdisjoint(name for name, _ in each.patches))
    return replace(series, prerequisites=tuple(others))


def _ids(patch: Patch) -> set[str | None]:
    """Return the patch ids of a patch and its ports, as git writes them, and its message id."""
    said = [
        Git.without_repository().run("patch-id", "--stable", given=form.diff).stdout.split()
        for form in patch.forms
    ]
    return {patch.message_id, *(words[0].decode() for words in said if words)}
