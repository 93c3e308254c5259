# SPDX-License-Identifier: GPL-2.0-only
"""A user's repository, with a real git: what is read of it, and what is not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.source.history import Repository
from tests.unit.source.test_series import git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make three commits, of which the last two are called one and two."""
    git(tmp_path, "init", "--quiet")
    for name in ("base", "one", "two"):
        (tmp_path / "file").write_text(name)
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", f"--message={name}")
        git(tmp_path, "tag", name)
    return tmp_path


def test_commits_and_how_they_follow(work: Path) -> None:
    it = Repository(work, "it")
    one, two = it.commit("one"), it.commit("two")
    assert it.commit(two[:8]) == it.commit("HEAD") == two
    assert (it.count("base", "two"), it.count("two", "base")) == (2, 0)
    assert it.is_ancestor(one, two)
    assert not it.is_ancestor(two, one)
    assert it.has(one, ["file"])
    assert not it.has(one, ["file", "Makefile"])
    assert it.path("objects") == work / ".git/objects"


@pytest.mark.parametrize("revision", ["too", "", "--all", "deadbeef" * 5])
def test_a_revision_that_is_not_there(work: Path, revision: str) -> None:
    with pytest.raises(RequestError, match=f'it: there is no revision "{revision}"; '):
        Repository(work, "it").commit(revision)


def test_of_many_names_none_is_listed(work: Path) -> None:
    for number in range(20):
        git(work, "tag", f"v6.{number}")
    with pytest.raises(RequestError, match=f"; git -C {work} branch and tag list them"):
        Repository(work, "it").commit("qqq")
    with pytest.raises(RequestError, match=r'did you mean "v6\.1'):
        Repository(work, "it").commit("v6.1x")


def test_dirty_is_what_is_in_no_commit(
    work: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file that git does not know is nothing of the history's; a bare one has no checkout."""
    it = Repository(work, "it")
    (work / "new").touch()
    assert not it.is_dirty()
    (work / "file").write_text("changed")
    assert it.is_dirty()
    bare = tmp_path_factory.mktemp("bare")
    git(bare, "clone", "--quiet", "--bare", str(work), ".")
    assert not Repository(bare, "it").is_dirty()
    assert Repository(bare, "it").commit("two") == it.commit("two")


def test_another_repository_around_us_is_not_asked(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a hook of it, or in a step of a bisection."""
    monkeypatch.setenv("GIT_DIR", str(work / "elsewhere"))
    assert Repository(work, "it").commit("two")


def test_no_repository_is_told_with_git_s_words(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="it: git cannot read it: not a git repository"):
        Repository(tmp_path, "it").commit("HEAD")
