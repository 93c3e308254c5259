# SPDX-License-Identifier: GPL-2.0-only
"""The verdict in words: a sentence for each variant, in parts that a report draws its own way."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.results.cell import BASE
from kstep.results.verdict import chances, verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kstep.results.verdict import Chance, Judged

FEW = 2  # cases of one session that a sentence names


@dataclass(frozen=True)
class Clause:
    """A verb and what it is said of; ``kind`` is the list of the verdict that it tells of.

    ``kind`` is empty where that list is.
    """

    verb: str
    rest: str
    kind: str = ""


@dataclass(frozen=True)
class Sentence:
    """What the patches of one variant do, compared with ``none``.

    ``column`` is the key of the verdict. ``fixed`` and ``regressed`` are names of sessions,
    each with its case, or with how many of its cases where they are many; ``unchanged`` and
    ``total`` count cell names.
    """

    column: str
    fixed: tuple[str, ...]
    regressed: tuple[str, ...]
    unchanged: int
    total: int
    chances: tuple[Chance, ...] = ()

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """The sentence in parts, in order."""
        if not self.total:
            rest = f"nothing to compare with {BASE}: no session has a verdict on both"
            return (Clause("has", rest),)
        if not self.fixed and not self.regressed:
            return (Clause("changes", f"nothing: {_count(self.total)} as with {BASE}"),)
        return (
            _clause("fixes", self.fixed, "fixed"),
            _clause("breaks", self.regressed, "regressed"),
            Clause(
                "leaves", f"{self.unchanged} of {_count(self.total)} as with {BASE}", "unchanged"
            ),
        )

    @property
    def rates(self) -> tuple[str, ...]:
        """What varies, a sentence each; p is Fisher's exact test of the two rates."""
        return tuple(
            f"{each.name} passes {each.after}, with {BASE} {each.before}, p = {each.p:.2g}."
            for each in self.chances
        )

    def __str__(self) -> str:
        said = "; ".join(f"{clause.verb} {clause.rest}" for clause in self.clauses)
        return " ".join((f"{self.column} {said}.", *self.rates))


def sentences(cells: Sequence[Judged]) -> list[Sentence]:
    """Say the verdict, a sentence for each of its entries."""
    varying = chances(cells)
    return [sentence(column, entry, varying[column]) for column, entry in verdict(cells).items()]


def sentence(
    column: str, entry: Mapping[str, Sequence[str]], varying: Sequence[Chance] = ()
) -> Sentence:
    """Put one entry of the verdict into words; of a session's many cases only the count is said."""
    return Sentence(
        column,
        fixed=_names(entry["fixed"], entry),
        regressed=_names(entry["regressed"], entry),
        unchanged=len(entry["unchanged"]),
        total=sum(map(len, entry.values())),
        chances=tuple(varying),
    )


def _clause(verb: str, names: Sequence[str], kind: str) -> Clause:
    return Clause(verb, ", ".join(names), kind) if names else Clause(verb, "nothing")


def _count(number: int) -> str:
    return f"{number} session" if number == 1 else f"{number} sessions"


def _names(names: Sequence[str], entry: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names; where a session has many, how many of its cases they are."""
    sessions = Counter(_session(name) for kind in entry.values() for name in kind)
    said: list[str] = []
    for session, group in itertools.groupby(names, _session):
        found = list(group)
        if len(found) <= FEW:
            said += found
        else:
            total = sessions[session]
            said.append(
                f"{session} ({'all' if len(found) == total else f'{len(found)} of'} {total})"
            )
    return tuple(said)


def _session(name: str) -> str:
    return name.partition("[")[0]
