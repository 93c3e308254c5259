# SPDX-License-Identifier: GPL-2.0-only
"""Finds what a series stands on among the patches of other series."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kstep.source.git import Git
from kstep.source.prerequisite import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kstep.source.series import Patch, Series


def look_up(series: Series, known: Sequence[Series]) -> Series:
    """Return a series, with its prerequisites found among the patches of others.

    One that is a patch of its own is none: somebody has put both into one series.
    """
    patches = [
        (_known(each, patch), _ids(patch) | {each.message_id})
        for each in (series, *(each for each in known if each.name != series.name))
        for patch in each.patches
    ]
    found = [
        replace(each, patches=tuple(patch for patch, ids in patches if each.id in ids))
        for each in series.prerequisites
    ]
    own = {f"{series.name}/{patch.id}" for patch in series.patches}
    others = (each for each in found if own.isdisjoint(patch.name for patch in each.patches))
    return replace(series, prerequisites=tuple(others))


def _known(series: Series, patch: Patch) -> Known:
    diffs = tuple(form.diff for form in patch.forms)
    touched = sorted({name for form in patch.forms for name in form.touched})
    return Known(f"{series.name}/{patch.id}", patch.subject, tuple(touched), diffs)


def _ids(patch: Patch) -> set[str | None]:
    """Return the patch ids of a patch and its ports, as git writes them, and its message id."""
    said = [
        Git.without_repository().run("patch-id", "--stable", given=form.diff).stdout.split()
        for form in patch.forms
    ]
    return {patch.message_id, *(words[0].decode() for words in said if words)}
