# SPDX-License-Identifier: GPL-2.0-only
"""A user's repository, with a real git: what is read of it, and what is not touched."""

from __future__ import annotations

import os
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.source.git import KEPT, Git, Repository, reason
from tests.unit.source.test_series import git

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make three commits, of which the last two are called one and two."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "--quiet")
    for name in ("base", "one", "two"):
        (work / "file").write_text(name)
        git(work, "add", "--all")
        git(work, "commit", "--quiet", f"--message={name}")
        git(work, "tag", name)
    return work


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


# -- what is around the command: a hook, a step of a bisection, an alias, a user's settings


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make another repository, which also has a commit called two, and is dirty."""
    folder = tmp_path_factory.mktemp("other")
    git(folder, "init", "--quiet")
    (folder / "elsewhere").write_text("it\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=two")
    git(folder, "tag", "two")
    (folder / "elsewhere").write_text("changed\n")
    return folder


def in_a_hook_of(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set all by which git says that it is another repository that it works on."""
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_WORK_TREE": other,
        "GIT_INDEX_FILE": other / ".git/index",
        "GIT_OBJECT_DIRECTORY": other / ".git/objects",
        "GIT_COMMON_DIR": other / ".git",
        "GIT_PREFIX": "sub/",
        "GIT_NAMESPACE": "name",
        "GIT_CEILING_DIRECTORIES": "/",
        "GIT_SHALLOW_FILE": other / "elsewhere",
        "GIT_CONFIG_PARAMETERS": f"'core.worktree={other}'",
        "GIT_CONFIG_COUNT": 1,
        "GIT_CONFIG_KEY_0": "core.worktree",
        "GIT_CONFIG_VALUE_0": other,
        "GIT_TRACE": "1",
    }.items():
        monkeypatch.setenv(name, str(value))


def test_another_repository_around_us_is_not_asked(
    work: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = git(work, "rev-parse", "two").strip()
    in_a_hook_of(other, monkeypatch)
    it = Repository(work, "it")
    assert it.commit("two") == two
    assert it.count("base", "two") == 2
    assert it.files() == ["file"]
    assert not it.is_dirty()
    assert it.description() == two[:7]
    assert it.path("objects") == work / ".git/objects"
    it.archive(two, "linux", tmp_path / "it.tar")
    with tarfile.open(tmp_path / "it.tar") as archive:
        assert archive.getnames() == ["linux", "linux/file"]


def test_what_git_calls_local_to_a_repository_is_not_handed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By this machine's git: a later one may have more of them."""
    local = git(tmp_path, "rev-parse", "--local-env-vars").split()
    assert "GIT_DIR" in local
    for name in local:
        monkeypatch.setenv(name, "x")
    assert not {*local} & {*Git.of_user(tmp_path).environment}
    assert {*local} & {*Git.without_repository().environment} == {"GIT_DIR"}
    own = Git.private(tmp_path, tmp_path).environment
    assert {*local} & {*own} == {"GIT_DIR", "GIT_WORK_TREE"}


def test_where_the_user_s_configuration_is_and_how_git_reaches_others_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*KEPT, "HOME", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "x")
    kept = Git.of_user(tmp_path).environment
    assert {name for name in (*KEPT, "HOME", "SSH_AUTH_SOCK") if kept.get(name) == "x"} == {
        *KEPT,
        "HOME",
        "SSH_AUTH_SOCK",
    }


@pytest.mark.parametrize("where", ["environment", "file"])
def test_whom_the_user_trusts_is_honoured(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Beside settings that are not: the environment's own core.worktree, say."""
    of_somebody_else(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    with pytest.raises(RequestError, match="it: git cannot read it: detected dubious ownership"):
        Repository(work, "it").commit("two")
    if where == "file":
        (tmp_path / "gitconfig").write_text(f"[safe]\n\tdirectory = {work}\n")
    else:
        monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.worktree")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "/")
        monkeypatch.setenv("GIT_CONFIG_KEY_1", "Safe.Directory")
        monkeypatch.setenv("GIT_CONFIG_VALUE_1", str(work))
    assert Repository(work, "it").commit("two")
    assert not Repository(work, "it").is_dirty()


def of_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have git find that every repository is another user's."""
    real = shutil.which("git")
    folder.mkdir()
    (folder / "git").write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


CONTRARY = """\
[alias]
\trev-parse = !false
[color]
\tui = always
\tdiff = always
\tstatus = always
[core]
\tquotePath = true
\tpager = false
\tfsmonitor = {folder}/hook
\tautocrlf = true
\tattributesFile = {folder}/attributes
\tabbrev = 7
[diff]
\tnoprefix = true
\tmnemonicPrefix = true
\tcontext = 0
\tinterHunkContext = 9
\texternal = false
\torderFile = {folder}/order
\trelative = true
\trenames = false
\tsuppressBlankEmpty = true
[format]
\tattach = x
\tcc = cc@example.org
\tcoverLetter = true
\tfrom = from@example.org
\theaders = "X-Header: x\\n"
\tnotes = true
\tnumbered = false
\toutputDirectory = {folder}/patches
\tsignature = x
\tsubjectPrefix = x
\tthread = true
\tto = to@example.org
\tuseAutoBase = true
[i18n]
\tlogOutputEncoding = latin1
[log]
\tshowSignature = true
[status]
\tshowUntrackedFiles = all
[tar]
\tumask = 077
"""


def answers(work: Path, folder: Path) -> dict[str, object]:
    """Ask a repository all that there is to ask."""
    it = Repository(work, "it")
    folder.mkdir()
    it.archive(it.commit("three"), "linux", folder / "it.tar")
    (folder / "patches").mkdir()
    it.format_patches("base", "three", folder / "patches")
    return {
        "commit": it.commit("three"),
        "count": it.count("base", "three"),
        "base": it.base("base", "three"),
        "dirty": it.is_dirty(),
        "description": it.description(),
        "has": it.has("three", ["file", "grün", "twin"]),
        "files": it.files(),
        "archive": (folder / "it.tar").read_bytes(),
        "patches": [path.read_bytes() for path in sorted((folder / "patches").iterdir())],
    }


@pytest.mark.parametrize("scope", ["user", "repository"])
def test_no_setting_changes_what_a_revision_or_a_patch_is(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str
) -> None:
    (work / "twin").write_text("".join(f"line {n}\n\n" for n in range(40)))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=twins")
    text = (work / "twin").read_text()
    (work / "grün").write_text(text)
    (work / "file").write_text("three\n")
    (work / "twin").write_text(text.replace("line 2\n", "2\n").replace("line 8\n", "8\n"))
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=Gr\u00fcn")
    git(work, "tag", "three")
    git(work, "notes", "add", "--message=a note", "three")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    usual = answers(work, tmp_path / "usual")
    assert usual["files"] == ["file", "grün", "twin"]
    settings = tmp_path / "settings"
    settings.mkdir()
    (settings / "attributes").write_text("* text eol=crlf export-ignore\n")
    (settings / "order").write_text("twin\n")
    (settings / "hook").write_text(f"#!/bin/sh\ntouch {settings}/called\n")
    (settings / "hook").chmod(0o755)
    contrary = CONTRARY.format(folder=settings)
    if scope == "user":
        (settings / "config").write_text(contrary)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings / "config"))
    else:
        with (work / ".git/config").open("a") as config:
            config.write(contrary)
    monkeypatch.setenv("PAGER", "false")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    assert answers(work, tmp_path / "contrary") == usual
    assert not (settings / "called").exists()
    assert not (settings / "patches").exists()


def test_git_s_words_are_english_and_nothing_is_asked(tmp_path: Path) -> None:
    for git_ in (Git.of_user(tmp_path), Git.without_repository(), Git.private(tmp_path, tmp_path)):
        kept = git_.environment
        assert (kept["LC_ALL"], kept["LANGUAGE"]) == ("C.UTF-8", "")
        assert (kept["GIT_TERMINAL_PROMPT"], kept["GIT_ASKPASS"]) == ("0", "")
        assert kept["GIT_OPTIONAL_LOCKS"] == "0"


def test_only_the_user_s_own_repository_is_read_with_the_user_s_settings(tmp_path: Path) -> None:
    for git_ in (Git.without_repository(), Git.private(tmp_path, tmp_path)):
        assert git_.environment["GIT_CONFIG_NOSYSTEM"] == "1"
        assert git_.environment["GIT_CONFIG_GLOBAL"] == os.devnull
        assert "HOME" not in git_.environment


def test_without_git_there_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineryError, match=r"^git is missing; install it: apt install git$"):
        Git.without_repository().run("version")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("fatal: not a git repository\nmore\n", "not a git repository"),
        ("warning: x\nerror: y\nfatal: z\n", "y"),
        ("warning: x\n", "warning: x"),
        ("", "it gives no reason"),
    ],
)
def test_why_git_refused(said: str, words: str) -> None:
    assert reason(said.encode()) == words


def test_a_git_that_was_killed_has_not_said_no(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\nkill -9 $$\n")
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(RequestError, match="it: git cannot read it: it gives no reason"):
        Repository(work, "it").is_ancestor("base", "two")


def test_no_repository_is_told_with_git_s_words(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="it: git cannot read it: not a git repository"):
        Repository(tmp_path, "it").commit("HEAD")
