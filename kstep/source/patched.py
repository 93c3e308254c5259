# SPDX-License-Identifier: GPL-2.0-only
"""A tree with a variant: which patches are applied or reverted, and the resulting files.

git apply decides, in scratch folders with only the files that the patches touch.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kstep.base import temporary
from kstep.base.errors import RequestError
from kstep.source.diff import apply, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kstep.source.prerequisite import Prerequisite
    from kstep.source.series import Patch, Series
    from kstep.source.variant import Variant

UNUSABLE = re.compile(r"binary patch|removal patch|only garbage|corrupt|old contents")


class DependentError(RequestError):
    """A patch applies with its whole series, but not in a variant without some of them."""


class Action(StrEnum):
    """What was done about a patch to get a variant."""

    APPLIED = "applied"
    REVERTED = "reverted"  # the tree has it, the variant does not
    PRESENT = "present"  # both have it
    ABSENT = "absent"  # neither has it


@dataclass(frozen=True)
class PatchedTree:
    """A variant of a pristine tree.

    ``files`` has the new content of every file that differs from pristine, or None for a deleted
    file; those in ``executable`` have that mode. ``actions`` and ``patches`` have a key
    "series/patch" for each patch of the variant's series, or of all series for ``none``;
    ``patches`` has the patch that fits this tree: itself or one of its ports. Two variants with
    the same resulting tree have the same ``digest``.
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


@dataclass(frozen=True)
class Unpatched:
    """A tree without any patch of a run's series, from which each variant is made.

    ``pristine`` are the files that the patches touch as the tree has them, ``files`` without the
    patches, ``present`` the patches that the tree has, by series and patch, in the form that is
    there. ``series`` are those of the run with each patch in the form that fits.
    """

    pristine: Mapping[str, _File]
    files: Mapping[str, _File]
    present: Mapping[str, Mapping[str, Patch]]
    series: tuple[Series, ...]

    @classmethod
    def of(cls, sources: Path, series_list: Sequence[Series]) -> Self:
        """Take the patches out of the pristine tree ``sources``, which is only read.

        git apply decides whether the tree has a patch, series by series, from the last patch to
        the first: it does if the patch reverses. Of a patch and its ports, the one in the tree is
        used, or the first that applies. Raises RequestError, with the hunk that failed, for a
        patch that is not in the tree and does not apply.
        """
        forms = [form for each in series_list for patch in each.patches for form in patch.forms]
        _refuse_other_kinds(sources, forms)
        pristine = _read(sources, _touched(series_list))
        with temporary.folder() as name:
            folder = Path(name)
            present = {
                each.name: _present(
                    each, _write(pristine, _touched([each]), folder / "own" / each.name)
                )
                for each in series_list
            }
            tree = _write(pristine, pristine, folder / "tree")
            for each in series_list:
                _take_out(each, present[each.name], tree)
            files = _read(tree, _touched(series_list))
            fitting = tuple(
                _fit(
                    each,
                    present[each.name],
                    _write(files, _touched([each]), folder / "whole" / each.name),
                    sources,
                )
                for each in series_list
            )
        return cls(pristine, files, present, fitting)

    def patched(self, variant: Variant) -> PatchedTree:
        """Put a variant's patches in; DependentError if one does not apply without the others."""
        own = [each for each in self.series if variant.series in {None, each.name}]
        patches = {f"{each.name}/{patch.id}": patch for each in own for patch in each.patches}
        members = {name: patch for name, patch in patches.items() if patch.id in variant.members}
        touched = {name for patch in members.values() for name in patch.touched}
        with temporary.folder() as folder:
            tree = _write(self.files, touched, Path(folder) / "variant")
            for name, patch in members.items():
                fault = f"patch {name} does not apply in {variant.name}"
                try:
                    _put_in(patch, tree, fault, fix="remove that variant")
                except RequestError as error:
                    raise DependentError(str(error)) from error
            rest = {name: file for name, file in self.files.items() if name not in touched}
            result = rest | _read(tree, touched)
        changed = [
            name
            for name in sorted({*self.pristine, *result})
            if result.get(name) != self.pristine.get(name)
        ]
        return PatchedTree(
            files={name: result[name].content if name in result else None for name in changed},
            executable=frozenset(
                name for name in changed if name in result and result[name].executable
            ),
            actions={
                f"{each.name}/{patch.id}": _action(
                    before=patch.id in self.present[each.name], after=patch.id in variant.members
                )
                for each in own
                for patch in each.patches
            },
            patches=patches,
            digest=_digest({name: result.get(name) for name in changed}),
        )


def _touched(series_list: Iterable[Series]) -> list[str]:
    patches = (patch for each in series_list for patch in each.patches)
    return sorted({name for patch in patches for form in patch.forms for name in form.touched})


def _refuse_other_kinds(sources: Path, patches: Iterable[Patch]) -> None:
    """Raise for a path that is not a plain file in the tree, which git apply would not notice."""
    top = sources.resolve()
    for patch in patches:
        for name in patch.touched:
            if (top / name).is_symlink() or (top / name).resolve() != top / name:
                raise RequestError(
                    f"{name} goes through a symbolic link; patch its target", patch.path
                )
            above = [folder for folder in (top / name).parents if folder.is_file()]
            if above or (top / name).is_dir():
                raise RequestError(
                    f"{name} is a file in the patch and a folder in the tree, or the reverse;"
                    " give it another name",
                    patch.path,
                )


def _write(files: Mapping[str, _File], names: Iterable[str], target: Path) -> Path:
    """Make ``target`` with those of the files that exist."""
    target.mkdir(parents=True)
    for name in names:
        if (file := files.get(name)) is not None:
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
    """Return the patches of a series in ``tree``, in the form that is there, and reverse them."""
    return {
        patch.id: form
        for patch in reversed(series.patches)
        if (
            form := next(
                (each for each in patch.forms if _reverse(each.diff, each.touched, tree)), None
            )
        )
    }


def _reverse(diff: bytes, touched: Sequence[str], tree: Path) -> bool:
    """Reverse a diff; whether that changed something, because a mode alone always reverses."""
    before = _read(tree, touched)
    reversed_ = not apply(["--reverse"], diff, tree).returncode
    return reversed_ and _read(tree, touched) != before


def _take_out(series: Series, present: Mapping[str, Patch], tree: Path) -> None:
    """Reverse what is present, unless an earlier series of the run has the same patch."""
    for patch in present.values():
        if not apply(["--reverse"], patch.diff, tree).returncode:
            continue
        if apply(["--check"], patch.diff, tree).returncode:
            fault = f"patch {series.name}/{patch.id} is in the tree and cannot be reverted"
            raise RequestError(f"{fault} after the series before it; run it alone", patch.path)


def _fit(series: Series, present: Mapping[str, Patch], tree: Path, sources: Path) -> Series:
    """Return the series in the form that fits ``tree``, and apply it there, patch by patch.

    A refusal names the patches that the series stands on and that ``sources`` lacks.
    """
    fitting = []
    for patch in series.patches:
        forms = (present[patch.id],) if patch.id in present else patch.forms
        form = next((each for each in forms if not apply([], each.diff, tree).returncode), None)
        if form is None:
            fault = f"patch {series.name}/{patch.id} is not in the tree and does not apply"
            fault += f", nor does one of its {len(patch.ports)} ports" if patch.ports else ""
            _put_in(patch, tree, fault, fix=_stands_on(series, sources) or "rebase it")
        fitting.append(form or patch)
    return replace(series, patches=tuple(fitting))


def missing(series: Series, sources: Path) -> list[str]:
    """Name the prerequisites of a series that a tree lacks, as far as can be known."""
    return [str(each) for each in series.prerequisites if not _is_there(each, sources)]


def _is_there(prerequisite: Prerequisite, sources: Path) -> bool:
    """Whether a tree has all patches of a prerequisite; False if kstep does not know them."""
    with temporary.folder() as folder:
        touched = sorted({name for each in prerequisite.patches for name in each.touched})
        tree = _write(_read(sources, touched), touched, Path(folder) / "tree")
        return bool(prerequisite.patches) and all(
            any(_reverse(diff, each.touched, tree) for diff in each.diffs)
            for each in reversed(prerequisite.patches)
        )


def _stands_on(series: Series, sources: Path) -> str:
    """Say what a series that does not apply is made for, and what to do; "" if unknown."""
    found = missing(series, sources)
    if not found:
        if series.base_commit:
            return f"it was made for commit {series.base_commit[:12]}; rebase it"
        return ""
    return (
        f"it stands on {'; '.join(found)}, not in this tree; put that before it, in one folder or"
        " mbox, or give a tree that has it"
    )


def _put_in(patch: Patch, tree: Path, fault: str, *, fix: str) -> None:
    applied = apply(["--verbose"], patch.diff, tree)
    if applied.returncode:
        said = refusal(applied)
        if UNUSABLE.search(said):  # in any tree
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
