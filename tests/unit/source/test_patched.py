# SPDX-License-Identifier: GPL-2.0-only
"""Patched trees, with a real git and small trees made here."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.source import diff, patched, series
from kstep.source import variant as matrix
from kstep.source.patched import Unpatched
from tests.unit.source.test_series import (
    IRQ,
    ONE,
    PRISTINE,
    ROOT,
    STEP,
    THREE,
    TWO,
    Tree,
    git,
    load_all,
    mails,
    one_line,
    patched_files,
    put,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from subprocess import CompletedProcess


@pytest.fixture(params=["plain", "in a checkout"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a pristine tree; once with the scratch folders inside a git checkout.

    There git apply passes over files silently unless it is told that there is no repository.
    """
    if request.param != "plain":
        (tmp_path / "checkout/tmp").mkdir(parents=True)
        git(tmp_path / "checkout", "init", "--quiet")
        (tmp_path / "gitconfig").write_text(
            "[apply]\n\twhitespace = fix\n\tignorewhitespace = change\n"
        )
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "checkout/tmp"))
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "checkout/.git"))
        monkeypatch.chdir(tmp_path / "checkout/tmp")
        return put(tmp_path / "checkout/tmp/tree", PRISTINE)
    return put(tmp_path / "tree", PRISTINE)


MERGED = ["", "1", "2", "3", "1+2", "1+2+3"]


@pytest.mark.parametrize("wanted", ["none", "s/1", "s/2", "s/3", "s/1+3", "s/1+2+3"])
@pytest.mark.parametrize("merged", MERGED)
def test_in_or_out_is_found_out(tree: Path, tmp_path: Path, merged: str, wanted: str) -> None:
    """Whatever the tree has, a variant comes to the same files; the actions tell the way."""
    three: Tree = {"Makefile": "all: three\n"}
    states = {"1": ONE, "2": TWO, "3": three}
    loaded = load_all(mails(tmp_path / "mails", ONE, TWO, three))
    for member in filter(None, merged.split("+")):
        put(tree, states[member])
    variant = matrix.parse(wanted, [loaded])
    files, actions = patched_files(tree, [loaded], variant)
    put(tree, files)
    expected = dict(PRISTINE)
    for member in variant.members:
        expected |= states[member]
    found = {
        str(path.relative_to(tree)): path.read_text() for path in tree.rglob("*") if path.is_file()
    }
    assert found == expected
    assert actions == {
        f"s/{n}": {
            (False, False): "absent",
            (False, True): "applied",
            (True, False): "reverted",
            (True, True): "present",
        }[n in merged.split("+"), n in variant.members]
        for n in states
    }


def test_two_series_that_share_a_patch_which_the_tree_has(tree: Path, tmp_path: Path) -> None:
    """As v5 and v6 over 6.1.192: each reports what it finds in the pristine tree."""
    other: Tree = {STEP: text(STEP, line_3="another one\n")}
    first = load_all(mails(tmp_path / "a", ONE, TWO), "a")
    second = load_all(mails(tmp_path / "b", other, TWO), "b")
    both = [first, second]
    put(tree, TWO)

    def patch(name: str) -> patched.PatchedTree:
        return Unpatched.of(tree, both).patched(matrix.parse(name, both))

    none = patch("none")
    assert none.actions == {"a/1": "absent", "a/2": "reverted", "b/1": "absent", "b/2": "reverted"}
    assert none.files == {IRQ: str(PRISTINE[IRQ]).encode(), "kernel/new.c": None}
    assert patch("b/2").actions == {"b/1": "absent", "b/2": "present"}
    assert patch("b/2").files == {}
    assert patch("b/1").actions == {"b/1": "applied", "b/2": "reverted"}
    assert patch("b/1+2").files == {STEP: str(other[STEP]).encode()}
    assert patch("a/2").digest == patch("b/2").digest
    names = ["none", "a/1", "a/2", "a/1+2", "b/1", "b/1+2"]
    assert len({patch(name).digest for name in names}) == len(names)


def test_git_is_asked_about_a_series_once_however_many_variants_there_are(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    apply = diff.apply

    def count(options: Sequence[str], given: bytes, folder: Path) -> CompletedProcess[bytes]:
        nonlocal asked
        asked += 1
        return apply(options, given, folder)

    monkeypatch.setattr(patched, "apply", count)

    def asked_for(number: int) -> int:
        nonlocal asked
        asked = 0
        many = [
            load_all(mails(tmp_path / f"{number}/{each}", ONE, TWO), f"s{each}")
            for each in range(number)
        ]
        unpatched = Unpatched.of(tree, many)
        for each in many:
            assert unpatched.patched(matrix.parse(f"{each.name}/1", many)).files
        return asked

    assert asked_for(6) == 3 * asked_for(2)


def test_a_tree_with_one_revision_in_takes_the_other(tree: Path, tmp_path: Path) -> None:
    """What one series has in the tree is out of the way before the other is tried."""
    other: Tree = {STEP: text(STEP, line_3="another one\n")}
    both = [
        load_all(mails(tmp_path / "a", ONE), "a"),
        load_all(mails(tmp_path / "b", other), "b"),
    ]
    put(tree, ONE)
    found = Unpatched.of(tree, both).patched(matrix.parse("b/1", both))
    assert found.files == {STEP: str(other[STEP]).encode()}
    assert found.actions == {"b/1": "applied"}
    with pytest.raises(RequestError, match="patch b/1 is not in the tree and does not apply"):
        Unpatched.of(tree, both[1:]).patched(matrix.NONE)


def ported(folder: Path) -> tuple[series.Series, Tree, Tree]:
    """Make a series whose first patch is ported to a tree where its neighbours are others.

    Gives also that tree's file, and the same with the port in.
    """
    other: Tree = {STEP: text(STEP, line_2="elsewhere\n", line_4="moved\n")}
    mended: Tree = {STEP: text(STEP, line_2="elsewhere\n", line_3="one\n", line_4="moved\n")}
    paths = mails(folder / "mails", ONE, TWO)
    (port,) = mails(folder / "port", mended, base={**PRISTINE, **other})
    (paths[0].parent / "6.12").mkdir()
    port.rename(paths[0].parent / "6.12/0001.patch")
    listed = "".join(
        f"  - file: {path.name}\n    subject: x\n"
        + ("    ports: [{file: 6.12/0001.patch, why: moved}]\n" if path == paths[0] else "")
        for path in paths
    )
    (paths[0].parent / "series.yaml").write_text(f"name: s\nsubject: x\npatches:\n{listed}")
    return load_all(paths), other, mended


def test_a_port_counts_where_it_applies(tree: Path, tmp_path: Path) -> None:
    loaded, other, mended = ported(tmp_path)
    assert [len(patch.ports) for patch in loaded.patches] == [1, 0]
    one = matrix.parse("s/1", [loaded])
    assert patched_files(tree, [loaded], one) == (
        {STEP: ONE[STEP]},
        {"s/1": "applied", "s/2": "absent"},
    )
    found = Unpatched.of(tree, [loaded]).patched(one)
    assert [patch.port for patch in found.patches.values()] == [None, None]
    put(tree, other)
    assert patched_files(tree, [loaded], one) == (
        {STEP: mended[STEP]},
        {"s/1": "applied", "s/2": "absent"},
    )
    found = Unpatched.of(tree, [loaded]).patched(one)
    assert found.patches["s/1"].port == "6.12/0001.patch"
    assert found.patches["s/1"].sha256 != loaded.patches[0].sha256


def test_a_port_that_is_in_is_taken_out(tree: Path, tmp_path: Path) -> None:
    loaded, other, mended = ported(tmp_path)
    put(tree, mended)
    assert patched_files(tree, [loaded], matrix.NONE) == (
        {STEP: other[STEP]},
        {"s/1": "reverted", "s/2": "absent"},
    )
    assert patched_files(tree, [loaded], matrix.parse("s/1", [loaded]))[1]["s/1"] == "present"


def test_a_patch_of_which_no_port_applies_is_told(tree: Path, tmp_path: Path) -> None:
    loaded, _, _ = ported(tmp_path)
    put(tree, {STEP: "nothing of it\n"})
    with pytest.raises(RequestError) as caught:
        Unpatched.of(tree, [loaded]).patched(matrix.NONE)
    assert (
        "s/1 is not in the tree and does not apply, nor does one of its 1 ports: at "
        in one_line(caught)
    )


def test_renames_deletions_and_modes(tmp_path: Path) -> None:
    """What git can say about a file, but for its content."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "--quiet")
    put(work, PRISTINE)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", "before")
    git(work, "mv", IRQ, "moved.c")
    git(work, "rm", "--quiet", "Makefile")
    (work / STEP).chmod(0o755)
    git(work, "commit", "--quiet", "--all", "--message", "after")
    git(work, "format-patch", "--quiet", "--find-renames", "-1")
    loaded = series.load(str(work / "0001-after.patch"), ROOT)
    assert loaded.patches[0].touched == ("Makefile", IRQ, STEP, "moved.c")
    variants = matrix.variants([loaded])

    tree = put(tmp_path / "tree", PRISTINE)
    none, one = (Unpatched.of(tree, [loaded]).patched(variant) for variant in variants)
    assert none.files == {}
    assert one.files == {
        "Makefile": None,
        IRQ: None,
        STEP: str(PRISTINE[STEP]).encode(),
        "moved.c": str(PRISTINE[IRQ]).encode(),
    }
    assert one.executable == {STEP}
    assert one.digest != none.digest

    none, one = (Unpatched.of(work, [loaded]).patched(variant) for variant in variants)
    assert one.files == {}
    assert set(one.actions.values()) == {"present"}
    assert none.files.keys() == {"Makefile", IRQ, STEP, "moved.c"}
    assert none.executable == set()


def test_a_bare_change_of_mode_is_found_out_too(tmp_path: Path) -> None:
    """Git apply only warns when the old mode is another, and so would reverse it anywhere."""
    path = tmp_path / "mode.patch"
    path.write_text(f"diff --git a/{STEP} b/{STEP}\nold mode 100644\nnew mode 100755\n")
    loaded = series.load(str(path), ROOT)
    tree = put(tmp_path / "tree", PRISTINE)
    assert Unpatched.of(tree, [loaded]).patched(matrix.NONE).actions == {"mode/1": "absent"}
    (tree / STEP).chmod(0o755)
    found = Unpatched.of(tree, [loaded]).patched(matrix.NONE)
    assert found.actions == {"mode/1": "reverted"}
    assert found.files.keys() == {STEP}
    assert not found.executable


def test_a_patch_that_neither_is_in_nor_applies_shows_the_hunk(tree: Path, tmp_path: Path) -> None:
    """File, line and the hunk's first lines, in one line; for every variant, none included."""
    loaded = load_all(mails(tmp_path / "mails", ONE, TWO))
    put(tree, {IRQ: text(IRQ, line_11="something else\n")})
    for variant in matrix.variants([loaded]):
        with pytest.raises(RequestError) as caught:
            Unpatched.of(tree, [loaded]).patched(variant)
        assert one_line(caught) == (
            f"{loaded.patches[1].path}: patch s/2 is not in the tree and does not apply: "
            f"at {IRQ}:7 there is no 'irq line 7 / irq line 8 / irq line 9'; rebase it"
        )


def test_a_patch_to_a_file_that_is_not_there(tree: Path, tmp_path: Path) -> None:
    """The tree may be of another architecture, or another age."""
    loaded = load_all(mails(tmp_path / "mails", ONE))
    (tree / STEP).unlink()
    with pytest.raises(RequestError, match=f"does not apply: {STEP}: no such file"):
        Unpatched.of(tree, [loaded]).patched(matrix.NONE)


def test_a_variant_whose_patch_needs_another_is_told(tree: Path, tmp_path: Path) -> None:
    """Patch 2 stands on patch 1 here, so there is no s/2."""
    loaded = load_all(
        mails(tmp_path / "mails", ONE, {STEP: text(STEP, line_3="one\n", line_4="two\n")})
    )
    files, _ = patched_files(tree, [loaded], matrix.parse("s/1+2", [loaded]))
    assert files == {STEP: text(STEP, line_3="one\n", line_4="two\n")}
    with pytest.raises(RequestError, match=r"s/2 does not apply in s/2: .*; remove that variant"):
        Unpatched.of(tree, [loaded]).patched(matrix.parse("s/2", [loaded]))


def test_patches_that_stand_on_each_other_are_taken_out_from_the_last(
    tree: Path, tmp_path: Path
) -> None:
    """The first alone would not reverse."""
    above: Tree = {STEP: text(STEP, line_3="one\n", line_4="two\n")}
    loaded = load_all(mails(tmp_path / "mails", ONE, above))
    put(tree, above)
    files, actions = patched_files(tree, [loaded], matrix.NONE)
    assert files == {STEP: PRISTINE[STEP]}
    assert actions == {"s/1": "reverted", "s/2": "reverted"}


def test_two_series_that_cannot_both_be_taken_out(tree: Path, tmp_path: Path) -> None:
    """Each reverses alone; with the first out, half of the second is still in."""
    both = [
        load_all(mails(tmp_path / "a", ONE), "a"),
        load_all(mails(tmp_path / "b", THREE), "b"),
    ]
    put(tree, THREE)
    for each in both:
        assert set(Unpatched.of(tree, [each]).patched(matrix.NONE).actions.values()) == {"reverted"}
    with pytest.raises(
        RequestError, match=r"b/1 is in the tree and cannot be reverted.*run it alone"
    ):
        Unpatched.of(tree, both).patched(matrix.NONE)


def test_the_digest_knows_the_mode(tmp_path: Path) -> None:
    """A script that cannot be run makes another kernel, or none."""
    plain = f"--- a/{STEP}\n+++ b/{STEP}\n@@ -1 +1 @@\n-step line 1\n+x\n"
    head = f"diff --git a/{STEP} b/{STEP}\nold mode 100644\nnew mode 100755\n"
    tree = put(tmp_path / "tree", {STEP: "step line 1\n"})
    digests = set()
    for change in (plain, head + plain):
        (tmp_path / "it.patch").write_text(change)
        loaded = series.load(str(tmp_path / "it.patch"), ROOT)
        found = Unpatched.of(tree, [loaded]).patched(matrix.parse("it/1", [loaded]))
        assert found.files == {STEP: b"x\n"}
        digests.add(found.digest)
    assert len(digests) == 2


def test_a_way_through_a_symbolic_link_is_refused(tree: Path, tmp_path: Path) -> None:
    """Kernel trees have such links; what is behind them may be anywhere."""
    loaded = load_all(mails(tmp_path / "mails", ONE))
    (tree / STEP).rename(tmp_path / "elsewhere.c")
    (tree / STEP).symlink_to(tmp_path / "elsewhere.c")
    with pytest.raises(RequestError, match=f"{STEP} goes through a symbolic link"):
        Unpatched.of(tree, [loaded]).patched(matrix.NONE)
    (tree / STEP).unlink()
    (tree / STEP).symlink_to((tree / STEP).name)  # to itself
    with pytest.raises(RequestError, match=f"{STEP} goes through a symbolic link"):
        Unpatched.of(tree, [loaded]).patched(matrix.NONE)


def test_whitespace_at_a_line_s_end_stays(tree: Path, tmp_path: Path) -> None:
    """The user's apply.whitespace is not asked."""
    state: Tree = {STEP: text(STEP, line_3="one \t\n")}
    loaded = load_all(mails(tmp_path / "mails", state))
    assert patched_files(tree, [loaded], matrix.parse("s/1", [loaded]))[0] == state
