# SPDX-License-Identifier: GPL-2.0-only
"""What a variant does to a tree: which patches go in or out, and which files that makes.

git apply is asked, in scratch folders with no more than the files that the patches touch.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.errors import RequestError
from kstep.source.diff import apply, complaint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kstep.source.series import Patch, Series
    from kstep.source.variant import Variant

UNUSABLE = re.compile(r"binary patch|removal patch|only garbage|corrupt|old contents")


class DependentError(RequestError):
    """A patch applies with its whole series, and not in the variant that leaves some out."""


class Action(StrEnum):
    """What was done about a patch to get a variant."""

    APPLIED = "applied"
    REVERTED = "reverted"  # the tree has it, the variant has not
    PRESENT = "present"  # both have it
    ABSENT = "absent"  # neither has it


@dataclass(frozen=True)
class PatchedTree:
    """What makes a variant of a pristine tree.

    ``files`` has the new content of every file that differs from pristine, or None
    where the file is to go; of these, ``executable`` must have that mode. ``actions``
    goes by "series/patch", over the variant's own series, or over all for ``none``; so does
    ``patches``, which has each patch as it fits this tree: itself or one of its ports.
    Two variants with the same resulting tree have the same ``digest``.
    """

    files: Mapping[str, bytes | None]
    executable: frozenset[str]
    actions: Mapping[str, Action]
    patches: Mapping[str, Patch]
    digest: str


@dataclass(frozen=True)
class _File:
    content: bytes
    executable: bool


def make(sources: Path, series_list: Sequence[Series], variant: Variant) -> PatchedTree:
    """Work out what ``variant`` changes in the pristine tree ``sources``, which is only read.

    Whether a patch is in is asked of git apply, series by series, from the last patch
    to the first: one that reverses is in. Of a patch and its ports that one counts which is
    in, or else the first that applies. Raises RequestError for a patch that neither is in
    nor applies, with the hunk that was refused.
    """
    patches = [each for series in series_list for patch in series.patches for each in patch.forms]
    touched = sorted({name for patch in patches for name in patch.touched})
    _refuse_other_kinds(sources, patches)
    with temporary.folder() as folder:
        scratch = Path(folder)
        pristine = _read(sources, touched)
        present = {
            series.name: _present(series, _copy(sources, scratch / "own" / series.name, touched))
            for series in series_list
        }
        tree = _copy(sources, scratch / "variant", touched)
        for series in series_list:
            _take_out(series, present[series.name], tree)
        series_list = [
            _fit(
                series,
                present[series.name],
                _copy(tree, scratch / "whole" / series.name, touched),
            )
            for series in series_list
        ]
        own = [series for series in series_list if variant.series in {None, series.name}]
        for series in own:
            for patch in series.patches:
                if patch.id in variant.members:
                    fault = f"patch {series.name}/{patch.id} does not apply in {variant.name}"
                    try:
                        _put_in(patch, tree, fault, fix="leave that variant out")
                    except RequestError as error:
                        raise DependentError(str(error)) from error
        result = _read(tree, touched)

    changed = [name for name in touched if result.get(name) != pristine.get(name)]
    actions = {
        f"{series.name}/{patch.id}": _action(
            before=patch.id in present[series.name],
            after=patch.id in variant.members,
        )
        for series in own
        for patch in series.patches
    }
    return PatchedTree(
        files={name: result[name].content if name in result else None for name in changed},
        executable=frozenset(
            name for name in changed if name in result and result[name].executable
        ),
        actions=actions,
        patches={f"{series.name}/{patch.id}": patch for series in own for patch in series.patches},
        digest=_digest({name: result.get(name) for name in changed}),
    )


def _refuse_other_kinds(sources: Path, patches: Iterable[Patch]) -> None:
    """Raise for what is no plain file in the tree: there git apply sees no more than the files."""
    top = sources.resolve()
    for patch in patches:
        for name in patch.touched:
            if (top / name).resolve() != top / name:
                raise RequestError(
                    f"{name} goes through a symbolic link; patch its target", patch.path
                )
            above = [folder for folder in (top / name).parents if folder.is_file()]
            if above or (top / name).is_dir():
                raise RequestError(
                    f"{name} is a file where the tree has a folder, or the other way round;"
                    " give it another name",
                    patch.path,
                )


def _copy(source: Path, target: Path, names: Iterable[str]) -> Path:
    """Make ``target`` with those of the files that there are."""
    target.mkdir(parents=True)
    for name, file in _read(source, names).items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(file.content)
        (target / name).chmod(0o755 if file.executable else 0o644)
    return target


def _read(tree: Path, names: Iterable[str]) -> dict[str, _File]:
    return {
        name: _File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for name in names
        if (path := tree / name).is_file()
    }


def _present(series: Series, tree: Path) -> dict[str, Patch]:
    """Give what ``tree`` has of a series, each patch as it is in, and reverse it there."""
    return {
        patch.id: form
        for patch in reversed(series.patches)
        if (form := next((each for each in patch.forms if _reverse(each, tree)), None))
    }


def _reverse(patch: Patch, tree: Path) -> bool:
    """Reverse a patch where that changes something: a bare mode always reverses."""
    before = _read(tree, patch.touched)
    reversed_ = not apply(["--reverse"], patch.diff, tree).returncode
    return reversed_ and _read(tree, patch.touched) != before


def _take_out(series: Series, present: Mapping[str, Patch], tree: Path) -> None:
    """Reverse what is present; another series of the run may have the same patch, and was first."""
    for patch in present.values():
        if not apply(["--reverse"], patch.diff, tree).returncode:
            continue
        if apply(["--check"], patch.diff, tree).returncode:
            fault = f"patch {series.name}/{patch.id} is in the tree and cannot be taken out"
            raise RequestError(f"{fault} after the series before it; run it alone", patch.path)


def _fit(series: Series, present: Mapping[str, Patch], tree: Path) -> Series:
    """Give the series in the form that fits ``tree``, and put it in there, patch by patch."""
    fitting = []
    for patch in series.patches:
        forms = (present[patch.id],) if patch.id in present else patch.forms
        form = next((each for each in forms if not apply([], each.diff, tree).returncode), None)
        if form is None:
            fault = f"patch {series.name}/{patch.id} neither is in the tree nor applies"
            fault += f", nor does one of its {len(patch.ports)} ports" if patch.ports else ""
            _put_in(patch, tree, fault, fix="rebase it")
        fitting.append(form or patch)
    return replace(series, patches=tuple(fitting))


def _put_in(patch: Patch, tree: Path, fault: str, *, fix: str) -> None:
    applied = apply(["--verbose"], patch.diff, tree)
    if applied.returncode:
        said = complaint(applied)
        if UNUSABLE.search(said):  # whatever the tree
            fix = "make it again, with git format-patch --binary"
        raise RequestError(f"{fault}: {said}; {fix}", patch.path)


def _action(*, before: bool, after: bool) -> Action:
    if before:
        return Action.PRESENT if after else Action.REVERTED
    return Action.APPLIED if after else Action.ABSENT


def _digest(files: Mapping[str, _File | None]) -> str:
    total = hashlib.sha256()
    for name, file in sorted(files.items()):
        state = (hashlib.sha256(file.content).hexdigest(), file.executable) if file else None
        total.update(f"{name!r} {state}\n".encode())
    return total.hexdigest()
