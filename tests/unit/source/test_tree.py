# SPDX-License-Identifier: GPL-2.0-only
"""Kernel sources of every form, tiny ones; and every way to name one that is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.cache import Cache
from kstep.base.errors import RequestError
from kstep.base.progress import Progress
from kstep.source import tree
from kstep.toolchain import HostToolchain
from tests.unit.source.test_git import of_somebody_else

if TYPE_CHECKING:
    from kstep.source.tree import Tree

MAKEFILE = """\
# SPDX-License-Identifier: GPL-2.0
VERSION = 6
PATCHLEVEL = 1
SUBLEVEL = 192
EXTRAVERSION =
NAME = Curry Ramen

# *DOCUMENTATION*
"""


def a_linux(folder: Path, **more: str) -> Path:
    """Make a tiny Linux; a folder's slash is written as two underscores."""
    files = {"Makefile": MAKEFILE, "Kconfig": "", "arch__arm64__Makefile": "x\n", **more}
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def git(folder: Path, *arguments: str) -> str:
    """Run the real git, as nobody in particular."""
    clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull}
    argv = ["git", "-c", "user.name=kstep", "-c", "user.email=kstep@localhost", *arguments]
    return subprocess.run(
        argv, cwd=folder, env=clean, check=True, capture_output=True, text=True
    ).stdout


def a_repository(folder: Path) -> Path:
    """Make a tiny Linux that is under git."""
    a_linux(folder, **{".gitignore": "*.o\n"})
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


def got(spec: str, tmp_path: Path) -> Tree:
    """Get a tree, on this machine."""
    asked = tree.parse(spec)
    return asked.get(HostToolchain("test"), Cache(tmp_path / "cache"), Progress())


def listed(folder: Path) -> list[str]:
    """Return all files below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def left_behind(tmp_path: Path) -> list[str]:
    """Return what is in the cache of trees."""
    folder = tmp_path / "cache" / "trees"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_a_name_may_be_in_any_encoding(tmp_path: Path) -> None:
    """Under git or not."""
    for folder in (a_linux(tmp_path / "plain"), a_repository(tmp_path / "git")):
        (folder / os.fsdecode(b"a\xff")).write_text("x\n")
        assert os.fsdecode(b"a\xff") in listed(got(f"path:{folder}", tmp_path).source)


@pytest.mark.parametrize("makefile", ["all:\n", "VERSION = 6\n", "VERSION = x\nPATCHLEVEL = 1\n"])
def test_a_makefile_without_a_version_is_no_kernel_s(tmp_path: Path, makefile: str) -> None:
    """Of which version the options are is asked of it."""
    folder = a_linux(tmp_path / "it", Makefile=makefile)
    with pytest.raises(RequestError, match="its Makefile has no VERSION and PATCHLEVEL"):
        tree.parse(f"path:{folder}")


# -- what is refused before anything is fetched


@pytest.mark.parametrize(
    "spec",
    ["", ":", "debian", "debian:", "6.1", "http://example/linux.tar", "PATH:x", "path", "svn:x"],
)
def test_what_is_no_form_is_answered_with_the_forms(spec: str) -> None:
    with pytest.raises(RequestError) as error:
        tree.parse(spec)
    assert str(error.value) == (
        f"tree {spec}: must be debian:6.1, path:DIR, git:DIR#REV or tar:FILE"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("debian:sid", "name a version, such as debian:5.10, debian:6.1, debian:6.12, debian:7.2"),
        ("path:{nothing}", "no such folder"),
        ("path:{file}", "no such folder"),
        ("path:{empty}", "is not a Linux source with arch/arm64"),
        ("path:{headless}", "is not a Linux source with arch/arm64"),
        ("tar:{nothing}", "no such file"),
        ("tar:{empty}", "no such file"),
        ("git:{repository}", "the revision is missing: git:DIR#REV"),
        ("git:{repository}#", "the revision is missing: git:DIR#REV"),
        ("git:{repository}#v9", 'there is no revision "v9"; there are: master'),
        ("git:{repository}#--all", 'there is no revision "--all"; there are: master'),
        (
            "git:{nothing}#v1",
            "git cannot read it: cannot change to '{nothing}': no such file",
        ),
        ("git:{empty}#v1", "git cannot read it: not a git repository"),
    ],
)
def test_what_is_not_there_is_named(spec: str, message: str, tmp_path: Path) -> None:
    places = {name: tmp_path / name for name in ("nothing", "file", "empty", "headless")}
    places["file"].write_text("")
    places["empty"].mkdir()
    a_linux(places["headless"])
    (places["headless"] / "Makefile").unlink()
    places["repository"] = a_repository(tmp_path / "repository")
    spec = spec.format(**places)
    with pytest.raises(RequestError) as error:
        tree.parse(spec)
    said = str(error.value).lower()
    assert said.startswith(f"tree {spec}: ".lower())
    assert message.format(**places).lower() in said
    assert "\n" not in said


def test_without_git_there_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_repository(tmp_path / "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Exception, match=r"^git is missing; install it: apt install git$"):
        tree.parse(f"git:{folder}#HEAD")


# -- path


def test_a_folder_is_copied_as_it_is(tmp_path: Path) -> None:
    folder = a_linux(tmp_path / "linux", scripts__x="#!/bin/sh\n", private="x")
    (folder / "scripts/x").chmod(0o755)
    (folder / "private").chmod(0o600)
    (folder / "link").symlink_to("scripts/x")
    (folder / "-rf").write_text("odd")
    found = got(f"path:{folder}", tmp_path)
    assert (found.id, found.version) == (f"path:{folder}", "6.1.192")
    assert listed(found.source) == listed(folder)
    assert (found.source / "link").readlink() == Path("scripts/x")
    modes = {
        name: (found.source / name).stat().st_mode & 0o777 for name in ("scripts/x", "private")
    }
    assert modes["scripts/x"] & 0o111 == 0o111
    assert modes["private"] & 0o444 == 0o444  # who builds need not be who may read the original


def test_the_same_files_are_the_same_tree_and_copied_once(tmp_path: Path) -> None:
    one = got(f"path:{a_linux(tmp_path / 'one')}", tmp_path)
    other = got(f"path:{a_linux(tmp_path / 'other')}", tmp_path)
    assert (one.sha256, one.source) == (other.sha256, other.source)
    assert len(left_behind(tmp_path)) == 1


@pytest.mark.parametrize("change", ["content", "name", "mode", "link", "new"])
def test_any_change_makes_another_tree(change: str, tmp_path: Path) -> None:
    folder = a_linux(tmp_path / "linux", init__main="x", scripts__x="")
    (folder / "link").symlink_to("Kconfig")
    before = got(f"path:{folder}", tmp_path)
    match change:
        case "content":
            (folder / "init/main").write_text("y")
        case "name":
            (folder / "init/main").rename(folder / "init/main2")
        case "mode":
            (folder / "scripts/x").chmod(0o755)
        case "link":
            (folder / "link").unlink()
            (folder / "link").symlink_to("Makefile")
        case "new":
            (folder / "new").write_text("")
    after = got(f"path:{folder}", tmp_path)
    assert after.sha256 != before.sha256
    assert after.source != before.source


def test_what_is_copied_stays_as_it_is(tmp_path: Path) -> None:
    folder = a_linux(tmp_path / "linux")
    found = got(f"path:{folder}", tmp_path)
    (folder / "Makefile").write_text("VERSION = 9\n")
    assert (found.source / "Makefile").read_text() == MAKEFILE


def test_of_a_checkout_only_what_git_would_commit_is_taken(tmp_path: Path) -> None:
    folder = a_repository(tmp_path / "linux")
    (folder / "built.o").write_text("")
    (folder / "new.c").write_text("")
    (folder / ".config").write_text("")
    (folder / "Kconfig").unlink()
    (folder / "Kconfig").write_text("changed")
    (folder / "arch/arm64/gone").write_text("")
    git(folder, "add", "arch/arm64/gone")
    (folder / "arch/arm64/gone").unlink()
    a_repository(folder / "another")
    found = got(f"path:{folder}", tmp_path)
    assert listed(found.source) == [
        ".config",
        ".gitignore",
        "Kconfig",
        "Makefile",
        "arch/arm64/Makefile",
        "new.c",
    ]


@pytest.mark.parametrize("trace", [".config", "include__config__auto.conf"])
def test_a_folder_that_was_built_in_is_refused(trace: str, tmp_path: Path) -> None:
    folder = a_linux(tmp_path / "linux", **{trace: ""})
    with pytest.raises(RequestError, match=r"contains a build; run: make mrproper$"):
        got(f"path:{folder}", tmp_path)
    assert not left_behind(tmp_path)


def test_a_checkout_that_git_does_not_trust_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With sudo, say, in a folder of the user's."""
    folder = a_repository(tmp_path / "linux")
    of_somebody_else(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for spec in (f"path:{folder}", f"git:{folder}#HEAD"):
        with pytest.raises(RequestError, match=r"detected dubious ownership"):
            got(spec, tmp_path)


# -- git


def test_a_revision_is_taken_whatever_the_checkout_has(tmp_path: Path) -> None:
    folder = a_repository(tmp_path / "linux")
    first = git(folder, "rev-parse", "HEAD").strip()
    git(folder, "tag", "v6.1", "--message", "x", "--annotate")
    (folder / "Makefile").write_text(MAKEFILE.replace("192", "193"))
    git(folder, "commit", "--quiet", "--all", "--message", "two")
    (folder / "Makefile").write_text("broken")
    last = git(folder, "rev-parse", "HEAD").strip()
    assert got(f"git:{folder}#{first}", tmp_path).version == f"6.1.192 (commit {first[:12]})"
    assert got(f"git:{folder}#v6.1", tmp_path).version == f"6.1.192 (commit {first[:12]})"
    assert got(f"git:{folder}#HEAD", tmp_path).version == f"6.1.193 (commit {last[:12]})"
    assert got(f"git:{folder}#{first[:8]}", tmp_path).source.exists()
    assert len(left_behind(tmp_path)) == 2


@pytest.mark.parametrize("dirty", [False, True])
def test_changes_that_are_not_committed_are_told(
    dirty: bool,  # noqa: FBT001 -- a case
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A revision has them not, and says so; a folder has them, and its version says so."""
    folder = a_repository(tmp_path / "linux")
    git(folder, "tag", "v6.1", "--message", "x", "--annotate")
    if dirty:
        (folder / "Kconfig").write_text("more")
    index = (folder / ".git/index").read_bytes()
    got(f"git:{folder}#HEAD", tmp_path)
    said = capsys.readouterr().err
    assert ("uncommitted changes are ignored" in said) == dirty
    version = got(f"path:{folder}", tmp_path).version
    assert version == f"6.1.192 (v6.1{'-dirty' if dirty else ''})"
    assert (folder / ".git/index").read_bytes() == index


@pytest.mark.parametrize("form", ["git:{}#HEAD", "path:{}"])
def test_in_a_hook_of_another_repository_the_one_named_is_taken(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git says to a hook by GIT_DIR and others where it is; any git would ask that one."""
    folder = a_repository(tmp_path / "linux")
    other = a_repository(tmp_path / "other")
    (other / "Makefile").write_text(MAKEFILE.replace("192", "193"))
    (other / "only-here").write_text("")
    git(other, "add", "--all")
    git(other, "commit", "--quiet", "--message", "other")
    spec = form.format(folder)
    usual = got(spec, tmp_path)
    for path in tmp_path.glob("cache/*"):
        shutil.rmtree(path)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    found = got(spec, tmp_path)
    assert (found.version, found.sha256) == (usual.version, usual.sha256)
    assert listed(found.source) == [".gitignore", "Kconfig", "Makefile", "arch/arm64/Makefile"]


def test_a_bare_repository_and_one_with_nothing_committed_serve(tmp_path: Path) -> None:
    folder = a_repository(tmp_path / "linux")
    git(tmp_path, "clone", "--quiet", "--bare", str(folder), "bare")
    assert got(f"git:{tmp_path}/bare#HEAD", tmp_path).source.exists()
    fresh = a_linux(tmp_path / "fresh")
    git(fresh, "init", "--quiet")
    assert got(f"path:{fresh}", tmp_path).version == "6.1.192"


# -- tar


def packed(folder: Path, archive: Path) -> Path:
    """Pack a folder as kernel.org does."""
    argv = ["tar", "--create", "--auto-compress", f"--file={archive}", folder.name]
    subprocess.run(argv, cwd=folder.parent, check=True)
    return archive


@pytest.mark.parametrize(("suffix", "program"), [("gz", "gzip"), ("xz", "xz"), ("bz2", "bzip2")])
def test_an_archive_is_unpacked_without_its_top_folder(
    suffix: str, program: str, tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program}")
    folder = a_linux(tmp_path / "linux", EXTRA="x")
    found = got(f"tar:{packed(folder, tmp_path / f'linux.tar.{suffix}')}", tmp_path)
    assert found.version == "6.1.192"
    assert listed(found.source) == listed(folder)


def test_what_is_no_archive_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "linux.tar.xz"
    file.write_text("<html>404 Not Found</html>")
    with pytest.raises(RequestError) as error:
        got(f"tar:{file}", tmp_path)
    assert str(error.value).startswith(f"tree tar:{file}: tar cannot unpack it: ")
    assert not left_behind(tmp_path)


def test_an_archive_of_something_else_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/README").write_text("no kernel")
    archive = packed(tmp_path / "other", tmp_path / "other.tar.gz")
    for _ in range(2):
        with pytest.raises(
            RequestError, match="has README; a kernel's files must be in one top folder"
        ):
            got(f"tar:{archive}", tmp_path)
        assert not left_behind(tmp_path)


# -- versions


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (MAKEFILE, "6.1.192"),
        ("VERSION = 7\nPATCHLEVEL = 2\nSUBLEVEL = 0\nEXTRAVERSION = -rc3\n", "7.2.0-rc3"),
        ("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL =\nEXTRAVERSION =\n", "6.12"),
        ("VERSION=5\nPATCHLEVEL=10\nSUBLEVEL=1\n", "5.10.1"),
    ],
)
def test_the_version_is_what_the_makefile_says(text: str, version: str, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text(text)
    assert tree.makefile_version(tmp_path) == version
