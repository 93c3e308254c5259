# SPDX-License-Identifier: GPL-2.0-only
"""The variants of a series: which patches each has, and which variants a run has."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from kstep.base.document import nearest
from kstep.base.errors import RequestError
from kstep.base.pattern import is_pattern, matches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from kstep.source.series import Series

MOST = 64  # variants that a matrix may have: at a minute each, an hour


@dataclass(frozen=True)
class Variant:
    """A set of patches of a series; ``none`` belongs to no series."""

    name: str
    series: str | None
    members: tuple[str, ...]


NONE = Variant("none", None, ())


def _each(ids: Sequence[str]) -> Iterable[Collection[str]]:
    yield from ({one} for one in ids)
    if len(ids) > 1:
        yield ids


def _prefixes(ids: Sequence[str]) -> Iterable[Collection[str]]:
    return (ids[:count] for count in range(1, len(ids) + 1))


def _subsets(ids: Sequence[str]) -> Iterable[Collection[str]]:
    return (subset for count in range(1, len(ids) + 1) for subset in combinations(ids, count))


MATRICES: dict[str, Callable[[Sequence[str]], Iterable[Collection[str]]]] = {
    "each": _each,  # every patch alone, and all together
    "prefixes": _prefixes,  # patch 1, patches 1 to 2, and so on
    "subsets": _subsets,
}
COUNTS: dict[str, Callable[[int], int]] = {
    "each": lambda patches: patches + (patches > 1),
    "prefixes": lambda patches: patches,
    "subsets": lambda patches: 2**patches - 1,
}


def variants(series_list: Sequence[Series], name: str = "each") -> list[Variant]:
    """List ``none``, and the variants of each series in the matrix ``name``.

    Raises RequestError for another name, and for more variants than MOST.
    """
    if name not in MATRICES:
        raise RequestError(f"--matrix {name}: must be one of {', '.join(MATRICES)}")
    total = 1 + sum(COUNTS[name](len(series.patches)) for series in series_list)
    if total > MOST:
        patches = ", ".join(f"{len(series.patches)} in {series.name}" for series in series_list)
        raise RequestError(
            f"--matrix {name}: {total} variants (patches: {patches}) are more than {MOST};"
            " name those that matter with --variants, or use --matrix prefixes"
        )
    found = [NONE]
    for series in series_list:
        ids = [patch.id for patch in series.patches]
        found += [_variant(series, members) for members in MATRICES[name](ids)]
    return found


def select(series_list: Sequence[Series], names: Sequence[str], matrix: str = "") -> list[Variant]:
    """List the named variants; without names, those of the matrix.

    ``*`` and ``?`` in a name match any characters and any one, in the names of the matrix. Raises
    RequestError for a name or pattern that matches none, and for a matrix with names that do not
    need it.
    """
    if not names:
        return variants(series_list, matrix or "each")
    patterns = [name for name in names if is_pattern(name)]
    if matrix and not patterns:
        raise RequestError("--matrix and --variants both select variants; remove one")
    possible = variants(series_list, matrix or "each") if patterns else []
    found: list[Variant] = []
    for name in names:
        matching = [each for each in possible if matches(name, each.name)]
        if name not in patterns:
            matching = [parse(name, series_list)]
        elif not matching:
            all_names = ", ".join(each.name for each in possible)
            raise RequestError(f"--variants {name}: matches no variant; there are: {all_names}")
        found += [each for each in matching if name not in patterns or each not in found]
    for index, each in enumerate(found):
        if each in found[:index]:
            raise RequestError(f"--variants: {each.name} is named twice; name it once")
    return found


def parse(name: str, series_list: Sequence[Series]) -> Variant:
    """Return the variant ``name``, such as "none" or "v5/1+3"; the order does not matter.

    Raises RequestError for a series or patch that does not exist.
    """
    if name == NONE.name:
        return NONE
    wanted, _, members = name.rpartition("/")
    known = {series.name: series for series in series_list}
    if wanted not in known:
        names = [f"{series.name}/{patch.id}" for series in series_list for patch in series.patches]
        near = nearest(name, [NONE.name, *names])
        raise RequestError(f'variant "{name}" does not belong to a series of this run; {near}')
    series = known[wanted]
    ids = [patch.id for patch in series.patches]
    for member in members.split("+"):
        if member not in ids:
            raise RequestError(
                f'variant "{name}": no patch "{member}"; there are: {", ".join(ids)}'
            )
    return _variant(series, members.split("+"))


def _variant(series: Series, wanted: Collection[str]) -> Variant:
    members = tuple(patch.id for patch in series.patches if patch.id in wanted)
    return Variant(f"{series.name}/{'+'.join(members)}", series.name, members)
