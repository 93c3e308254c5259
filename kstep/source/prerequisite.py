# SPDX-License-Identifier: GPL-2.0-only
"""What a series stands on: the patches that must be in the tree before it, as its mails name them.

git format-patch --base writes their patch ids, b4 their message ids and change ids.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.source import thread

if TYPE_CHECKING:
    from collections.abc import Iterable

TRAILER = re.compile(
    rb"^prerequisite-(?P<kind>patch-id|message-id|change-id): *<?(?P<id>[^\s<>]+)>? *\r?$",
    re.MULTILINE,
)
SAID = re.compile(r"^(?P<kind>patch-id|message-id|change-id) (?P<id>\S+)$")  # in series.yaml
SHOWN = 12  # characters of a patch id


@dataclass(frozen=True)
class Known:
    """A patch that kstep has; ``diffs`` are those of the patch and of its ports."""

    name: str  # "series/patch"
    subject: str
    touched: tuple[str, ...]
    diffs: tuple[bytes, ...]


@dataclass(frozen=True)
class Prerequisite:
    """A patch, or with a message id or change id perhaps a whole series, that comes before.

    ``patches`` are those that it is, if kstep has them.
    """

    kind: str
    id: str
    patches: tuple[Known, ...] = ()

    def __str__(self) -> str:
        if self.patches:
            return ", ".join(f'{each.name} "{each.subject}"' for each in self.patches)
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
