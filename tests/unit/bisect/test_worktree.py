# SPDX-License-Identifier: GPL-2.0-only
"""The private work tree, with a real git: the user's repository is only read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.bisect.worktree import WorkTree
from kstep.source.git import Repository
from tests.unit.bisect.history import a_history
from tests.unit.source.test_series import git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make a history."""
    return a_history(tmp_path / "work")


def test_the_user_s_repository_is_only_read(work: Path, tmp_path: Path) -> None:
    """Its commits are checked out elsewhere; of files that are the same none is touched."""
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    work_tree = WorkTree(tmp_path / "private")
    for _ in range(2):
        work_tree.borrow(Repository(work, "it"))
        work_tree.check_out(git(work, "rev-parse", "v3").strip())
        kept = (work_tree.source / "Makefile").stat().st_mtime_ns
        work_tree.check_out(git(work, "rev-parse", "v1").strip())
        assert not (work_tree.source / "file3").exists()
        assert (work_tree.source / "Makefile").stat().st_mtime_ns == kept
        work_tree.git("bisect", "start", git(work, "rev-parse", "v3").strip())
    assert not (work_tree.source / ".git").exists()
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_git_s_own_words_where_it_fails(work: Path, tmp_path: Path) -> None:
    work_tree = WorkTree(tmp_path / "private")
    work_tree.borrow(Repository(work, "it"))
    with pytest.raises(MachineryError, match="git checkout failed") as caught:
        work_tree.check_out("0" * 40)
    assert caught.value.details


def test_in_a_hook_of_another_repository_the_private_one_is_worked_in(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git says to a hook by GIT_DIR and others where it is, and to a template by another."""
    other = a_history(tmp_path / "other")
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_COMMON_DIR": other / ".git",
        "GIT_INDEX_FILE": other / ".git/index",
        "GIT_OBJECT_DIRECTORY": other / ".git/objects",
        "GIT_TEMPLATE_DIR": other,
    }.items():
        monkeypatch.setenv(name, str(value))
    work_tree = WorkTree(tmp_path / "private")
    work_tree.borrow(Repository(work, "it"))
    second = git(work, "rev-parse", "v2").strip()
    work_tree.check_out(second)
    assert work_tree.commit() == second
    assert work_tree.subject(second) == "change 2"
    assert work_tree.content(second) == git(work, "rev-parse", "v2^{tree}").strip()
    assert (work_tree.source / "file2").exists()
    assert not (work_tree.folder / "repository/file1").exists()
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before
