# SPDX-License-Identifier: GPL-2.0-only
"""Series, variants and patched trees, with a real git and small trees made here."""

from __future__ import annotations

import base64
import email
import os
import quopri
import re
import subprocess
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.source import series
from kstep.source import variant as matrix
from kstep.source.patched import Action, Unpatched

ROOT = Path(__file__).parents[3]

if TYPE_CHECKING:
    from kstep.source.variant import Variant

Tree = dict[str, str | None]

STEP = "kernel/step.c"
IRQ = "kernel/irq.c"
PRISTINE: Tree = {
    STEP: "".join(f"step line {n}\n" for n in range(1, 31)),
    IRQ: "".join(f"irq line {n}\n" for n in range(1, 31)),
    "Makefile": "all:\n",
}


def text(path: str, **changed: str) -> str:
    """Return a pristine file with lines replaced: line_3="new"."""
    lines = str(PRISTINE[path]).splitlines(keepends=True)
    for which, line in changed.items():
        lines[int(which.removeprefix("line_")) - 1] = line
    return "".join(lines)


ONE: Tree = {STEP: text(STEP, line_3="one\n")}
TWO: Tree = {IRQ: text(IRQ, line_10="two\n"), "kernel/new.c": "new\n"}
THREE: Tree = {STEP: text(STEP, line_3="one\n", line_20="three\n")}


def put(tree: Path, files: Tree) -> Path:
    """Write files below ``tree``; None removes."""
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_text(content, encoding="utf-8")
    return tree


def git(folder: Path, *arguments: str) -> str:
    """Run the real git, as nobody in particular."""
    clean = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull}
    who = ["-c", "user.name=kstep", "-c", "user.email=kstep@localhost"]
    return subprocess.run(
        ["git", *who, *arguments], cwd=folder, env=clean, check=True, capture_output=True, text=True
    ).stdout


def mails(
    folder: Path, *states: Tree, base: Tree = PRISTINE, options: tuple[str, ...] = ()
) -> list[Path]:
    """Commit one state after the other, and give what git format-patch makes of them."""
    work = folder / "work"
    work.mkdir(parents=True)
    git(work, "init", "--quiet")
    put(work, base)
    for n, state in enumerate([{}, *states]):
        put(work, state)
        git(work, "add", "--all")
        git(work, "commit", "--quiet", "--allow-empty", "--message", f"kernel: change {n}")
    out = folder / "out"
    git(
        work, "format-patch", "--quiet", *options, "--output-directory", str(out), f"-{len(states)}"
    )
    return sorted(out.iterdir())


def load_all(paths: list[Path], name: str = "s") -> series.Series:
    """Load the mails as the folder that they are in, under a name."""
    folder = paths[0].parent.rename(paths[0].parent.with_name(name))
    return series.load(str(folder), ROOT)


def one_line(caught: pytest.ExceptionInfo[RequestError]) -> str:
    """Return the message of an error, which is one line."""
    assert "\n" not in str(caught.value)
    return str(caught.value)


def patched_files(
    tree: Path, which: list[series.Series], variant: Variant
) -> tuple[Tree, dict[str, str]]:
    """Patch a tree, and give the tree's files as they then are, with the actions."""
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    found = Unpatched.of(tree, which).patched(variant)
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before
    files = {name: None if file is None else file.decode() for name, file in found.files.items()}
    return files, dict(found.actions)


# The project's own series.


def test_v5_and_v6_load_with_what_their_yaml_says() -> None:
    """The names and ids are those that variants and results use."""
    for name in ("v5", "v6"):
        loaded = series.load(name, ROOT)
        assert loaded.name == name
        assert [patch.id for patch in loaded.patches] == ["1", "2"]
        assert loaded.subject == "arm64: Fix pending single-step debugging issues"
        assert loaded.patches[0].touched == ("arch/arm64/kernel/entry-common.c",)
        assert str(loaded.patches[1].merged).startswith("af6c0bd59f4f")
        for patch in loaded.patches:
            assert f"<{patch.message_id}>".encode() in patch.diff
            assert f'{patch.id}/2] {patch.subject}"'.encode() in patch.diff
            assert b"Signed-off-by" not in patch.diff


def code(patch: series.Patch) -> bytes:
    """Return a patch without its words."""
    return patch.diff[patch.diff.index(b"\n---\n") :]


# The test before rescheduling as v5 has it and as v6 has it, by the port that it is in.
CONDITIONS = {
    None: (b"\n+\tif (el1_step_owed(regs))\n", b"\n+\tif (!el1_step_owed(regs))\n"),
    "5.10": (b"\n+\tb.eq\t1f\n", b"\n+\tb.ne\t1f\n"),
    "7.2": (b"\n+\tif (el1_step_owed(regs))\n", b"\n+\tif (!el1_step_owed(regs))\n"),
}


def test_v5_and_v6_differ_in_the_rescheduling_condition_only() -> None:
    """v5 reschedules only during a step, v6 only without one; the same in every port."""
    five, six = (
        {
            (patch.id, each.port and str(Path(each.port).parent)): code(each)
            for patch in series.load(name, ROOT).patches
            for each in (patch, *patch.ports)
        }
        for name in ("v5", "v6")
    )
    assert five.keys() == six.keys()
    assert {port for number, port in five if number == "1"} == CONDITIONS.keys()
    for (number, port), theirs in five.items():
        if number == "1":
            reviewed, corrected = CONDITIONS[port]
            assert theirs.count(reviewed) == 1
            assert theirs.replace(reviewed, corrected) == six[number, port]
        else:
            assert theirs == six[number, port]


def test_every_port_says_which_linux_it_is_for() -> None:
    for name in ("v5", "v6", "v7"):
        for patch in series.load(name, ROOT).patches:
            for port in patch.ports:
                version = Path(str(port.port)).parent.name
                words = " ".join(port.diff.partition(b"\n---\n")[0].decode().split())
                assert "This is the patch as" in words
                assert f" Linux {version}" in words


# What a series can be made of.


def test_a_folder_goes_by_name_and_leaves_the_cover_letter_out(tmp_path: Path) -> None:
    """As git format-patch --cover-letter leaves it."""
    paths = mails(tmp_path, ONE, TWO, options=("--cover-letter",))
    assert len(paths) == 3
    loaded = load_all(paths, "my series, again")
    assert loaded.name == "my-series-again"
    assert [(patch.id, patch.subject) for patch in loaded.patches] == [
        ("1", "kernel: change 1"),
        ("2", "kernel: change 2"),
    ]
    assert loaded.patches[1].touched == (IRQ, "kernel/new.c")


def test_a_single_file_is_a_series_of_one_even_as_two_of_two(tmp_path: Path) -> None:
    """A reviewer may have saved just that mail."""
    path = mails(tmp_path, ONE, TWO)[1]
    loaded = series.load(str(path), ROOT)
    assert loaded.name == "0002-kernel-change-2"
    assert [patch.id for patch in loaded.patches] == ["1"]
    assert loaded.folder is None
    bare = tmp_path / "bare.patch"
    bare.write_text("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    assert series.load(str(bare), ROOT).patches[0].subject == "bare"


POSTMARK = "From 0123456789abcdef Mon Sep 17 00:00:00 2001\n"


def mail(subject: str, body: str, encoding: str = "8bit", end: str = "\n") -> bytes:
    """Make a mail of an mbox; the body is encoded as a mail program would."""
    head = f"{POSTMARK}From: someone <s@localhost>\nSubject: {subject}\nMIME-Version: 1.0\n"
    head += f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n"
    raw = body.encode()
    if encoding == "base64":
        raw = base64.encodebytes(raw.replace(b"\n", b"\r\n"))
    elif encoding == "quoted-printable":
        raw = quopri.encodestring(raw)
    return (head.encode() + raw + b"\n").replace(b"\n", end.encode())


def body(path: Path) -> str:
    """Return what a format-patch file has below its header."""
    return path.read_text(encoding="utf-8").split("\n\n", 1)[1]


def quoted(text: str) -> str:
    """Quote as a reply does."""
    return "".join(f"> {line}\n" for line in text.splitlines())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_mbox_gives_its_patches_in_the_order_of_their_numbers(tmp_path: Path, end: str) -> None:
    """Of a whole thread, in any order and encoding, only the patches count."""
    state: Tree = {STEP: text(STEP, line_3="one = größer\n")}
    first, second, third = mails(
        tmp_path, state, TWO, {STEP: text(STEP, line_3="one = größer\n", line_20="three\n")}
    )
    counter = "How about this instead?\n\n" + body(second)
    thread = [
        mail("Re: [PATCH v2 1/3] kernel: change 1", "Hm.\n\n" + quoted(body(first)), end=end),
        mail("[PATCH v2 3/3] kernel: change 3", body(third), end=end),
        mail("[PATCH v2 0/3] all of it", "From here on it is quiet.\n\n" + body(first), end=end),
        mail("Re: [PATCH v2 2/3] kernel: change 2", counter, end=end),
        mail("[PATCH v2 2/3] kernel:\n change 2", "From a reader.\n" + body(second), "base64", end),
        mail("[RFC PATCH v2 1/3] kernel: change 1", body(first), "quoted-printable", end),
    ]
    mbox = tmp_path / "thread v2.mbox"
    mbox.write_bytes(b"".join(thread))
    loaded = series.load(str(mbox), ROOT)
    assert loaded.name == "thread-v2"
    assert [patch.subject for patch in loaded.patches] == [f"kernel: change {n}" for n in (1, 2, 3)]
    tree = put(tmp_path / "tree", PRISTINE)
    files, actions = patched_files(tree, [loaded], matrix.parse("thread-v2/1+2+3", [loaded]))
    assert files == {STEP: text(STEP, line_3="one = größer\n", line_20="three\n"), **TWO}
    assert set(actions.values()) == {Action.APPLIED}


def test_mails_that_were_never_sent_nor_numbered_are_in_order(tmp_path: Path) -> None:
    """As git format-patch --no-numbered --stdout leaves them: nothing else tells their order."""
    mbox = tmp_path / "it.mbox"
    paths = mails(tmp_path, ONE, TWO, THREE, options=("--no-numbered",))
    mbox.write_bytes(b"".join(path.read_bytes() for path in paths))
    loaded = series.load(str(mbox), ROOT)
    assert [patch.subject for patch in loaded.patches] == [f"kernel: change {n}" for n in (1, 2, 3)]
    assert [patch.touched for patch in loaded.patches] == [(STEP,), (IRQ, "kernel/new.c"), (STEP,)]


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    """10.patch comes after 2.patch."""
    states: list[Tree] = [{STEP: text(STEP, line_3=f"{n}\n")} for n in range(10)]
    paths = mails(tmp_path, *states, options=("--no-numbered",))
    for n, path in enumerate(paths, 1):
        path.rename(path.with_name(f"{n}.patch"))
    loaded = load_all(paths)
    assert [patch.subject for patch in loaded.patches] == [
        f"kernel: change {n}" for n in range(1, 11)
    ]


def test_names_and_numbers_of_mails_must_agree(tmp_path: Path) -> None:
    """A mail program names what it saves as it likes."""
    first, second = mails(tmp_path, ONE, TWO)
    first.rename(first.with_name("z.patch"))
    with pytest.raises(RequestError, match=r"subject says 1/2, .* sorts after 0002-.*, 2/2") as it:
        series.load(str(second.parent), ROOT)
    assert one_line(it).startswith(str(first.with_name("z.patch")))


def test_carriage_returns_of_the_mail_go_those_of_the_file_stay(tmp_path: Path) -> None:
    """Some mail programs save a header with one kind of line end and the text with the other."""
    head, _, rest = mails(tmp_path, ONE)[0].read_text(encoding="utf-8").partition("\n\n")
    it = tmp_path / "it.patch"
    it.write_bytes(f"{head}\n\n".encode() + rest.replace("\n", "\r\n").encode())
    tree = put(tmp_path / "tree", PRISTINE)
    loaded = series.load(str(it), ROOT)
    assert patched_files(tree, [loaded], matrix.parse("it/1", [loaded]))[0] == ONE
    dos = tmp_path / "dos.patch"
    dos.write_bytes(b"--- a/dos\n+++ b/dos\n@@ -1 +1 @@\n-a\r\n+b\r\n")
    assert b"+b\r\n" in series.load(str(dos), ROOT).patches[0].diff


def test_names_without_a_and_b_are_refused(tmp_path: Path) -> None:
    """For git apply takes the first folder of each for the prefix, and adds a file elsewhere."""
    state: Tree = {"kernel/new.c": "new\n"}
    path = mails(tmp_path, state, options=("--no-prefix",))[0]
    lines = path.read_text(encoding="utf-8").splitlines()
    at = 1 + next(n for n, line in enumerate(lines) if line.startswith("diff --git"))
    with pytest.raises(RequestError, match=r"lack a/ and b/: kernel/new\.c; make it") as it:
        series.load(str(path), ROOT)
    assert one_line(it).startswith(f"{path}:{at}: ")
    plain = tmp_path / "plain.diff"
    plain.write_text("--- kernel/x.c\t2023\n+++ kernel/x.c\t2024\n@@ -1 +1 @@\n-a\n+b\n")
    with pytest.raises(RequestError, match=r":1: its file names lack a/ .*: kernel/x\.c;"):
        series.load(str(plain), ROOT)
    other = mails(tmp_path / "other", state, options=("--src-prefix=w/", "--dst-prefix=w/"))[0]
    assert series.load(str(other), ROOT).patches[0].touched == ("kernel/new.c",)


@pytest.mark.parametrize(
    ("options", "state", "said"),
    [
        (("--no-binary",), {"blob": "\0\1"}, "cannot apply binary patch"),
        (("--irreversible-delete",), {IRQ: None}, "removal patch leaves file contents"),
    ],
)
def test_what_no_tree_can_take_is_to_be_made_again(
    tmp_path: Path, options: tuple[str, ...], state: Tree, said: str
) -> None:
    """To rebase it would not help."""
    loaded = series.load(str(mails(tmp_path, state, options=options)[0]), ROOT)
    with pytest.raises(RequestError, match=f"{said}.*; make it again, with git format-patch") as it:
        Unpatched.of(put(tmp_path / "tree", PRISTINE), [loaded]).patched(matrix.NONE)
    one_line(it)


@pytest.mark.parametrize("name", ["kernel", "Makefile/x.c"])
def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Of the tree git apply sees only the files that are patched, and would take it."""
    it = tmp_path / "it.patch"
    it.write_text(f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+x\n")
    loaded = series.load(str(it), ROOT)
    with pytest.raises(
        RequestError, match=f"{name} is a file in the patch and a folder in the tree"
    ) as why:
        Unpatched.of(put(tmp_path / "tree", PRISTINE), [loaded]).patched(matrix.NONE)
    one_line(why)


def test_a_patch_in_an_attachment_is_found(tmp_path: Path) -> None:
    """Some mail programs know no other way."""
    it = EmailMessage()
    it["Subject"] = "[PATCH] it"
    it.set_content("See below.\n")
    it.add_attachment(body(mails(tmp_path, ONE)[0]), subtype="x-patch")
    mbox = tmp_path / "one.mbox"
    mbox.write_bytes(POSTMARK.encode() + it.as_bytes())
    assert series.load(str(mbox), ROOT).patches[0].touched == (STEP,)


@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        (["[PATCH 1/2] a", "[PATCH v2 1/2] a"], "patch 2 of 2 is missing; get the whole thread"),
        (["[PATCH 1/3] a", "[PATCH 3/3] a"], "patch 2 of 3 is missing; get the whole thread"),
        (["[PATCH 2/3] a", "[PATCH 3/3] a"], "patch 1 of 3 is missing; get the whole thread"),
        (["Re: [PATCH 1/2] a", "[PATCH 0/2] a"], "contains no patches"),
    ],
)
def test_an_mbox_that_is_no_whole_series_is_refused(
    tmp_path: Path, subjects: list[str], message: str
) -> None:
    """A patch left out silently would make evidence about something else."""
    patch = body(mails(tmp_path, ONE)[0])
    mbox = tmp_path / "some.mbox"
    mbox.write_bytes(b"".join(mail(subject, patch) for subject in subjects))
    with pytest.raises(RequestError, match=message) as caught:
        series.load(str(mbox), ROOT)
    assert one_line(caught).startswith(str(mbox))


def sent(folder: Path, *states: Tree, options: tuple[str, ...] = ()) -> list[bytes]:
    """Make a thread as git send-email sends it: a cover letter, and mails that answer it."""
    thread = ("--thread", "--cover-letter", "--reroll-count=3", *options)
    return [path.read_bytes() for path in mails(folder, *states, options=thread)]


def answer(to: bytes, body: str, who: str = "Rita Reader <rita@example.org>") -> bytes:
    """Make a reply to a mail."""
    header = email.message_from_bytes(to)
    subject, first = header["subject"], header["message-id"]
    head = (
        f"{POSTMARK}From: {who}\nSubject: Re: {subject}\nDate: Mon, 2 Jan 2023 10:00:00 +0000\n"
        f"Message-ID: <answer-{len(body)}@example.org>\nIn-Reply-To: {first}\n\n"
    )
    return (head + body + "\n").encode()


def test_a_thread_s_trailers_go_where_they_belong(tmp_path: Path) -> None:
    """Of its last revision, with the base that the cover letter names."""
    cover, first, second = sent(tmp_path, ONE, TWO, options=("--base=HEAD~2",))
    earlier = b"Date: Sun, 2 Jan 2022 10:00:00 +0000"
    old = [
        re.sub(
            b"(?m)^Date:.*$",
            earlier,
            mail.replace(b"PATCH v3", b"PATCH v2").replace(b".git.", b".old."),
        )
        for mail in sent(tmp_path / "old", THREE)
    ]
    mbox = tmp_path / "it.mbox"
    answers = [
        answer(
            first, quoted(first.decode()) + "\nFine.\n\nReviewed-by: Rita Reader <rita@example.org>"
        ),
        answer(second, "Why not so?\n\n" + second.decode().split("\n\n", 1)[1]),
    ]
    mbox.write_bytes(b"\n".join([*old, answers[0], second, cover, *answers[1:], first]))
    loaded = series.load(str(mbox), ROOT)
    assert [patch.touched for patch in loaded.patches] == [(STEP,), (IRQ, "kernel/new.c")]
    assert b"Reviewed-by: Rita Reader" in loaded.patches[0].diff
    assert b"Reviewed-by" not in loaded.patches[1].diff
    assert loaded.subject == "*** SUBJECT HERE ***"
    assert f"<{loaded.message_id}>".encode() in cover
    assert loaded.base_commit == git(tmp_path / "work", "rev-parse", "HEAD~2").strip()
    assert "Will use the latest revision: v3" in str(loaded.origin)


def test_what_was_saved_is_what_was_loaded(tmp_path: Path) -> None:
    """And a variant of it is the same kernel."""
    mbox = tmp_path / "it.mbox"
    umlaut: Tree = {STEP: text(STEP, line_3="größer\n")}
    mbox.write_bytes(b"\n".join(sent(tmp_path, umlaut, TWO)))
    loaded = series.load(str(mbox), ROOT)
    series.save(loaded, "mine", tmp_path / "patches/mine")
    again = series.load("mine", tmp_path)
    assert again.name == "mine"
    assert [path.name for path in sorted((tmp_path / "patches/mine").iterdir())] == [
        "0001-kernel-change-1.patch",
        "0002-kernel-change-2.patch",
        "series.yaml",
    ]
    assert (again.subject, again.message_id) == (loaded.subject, loaded.message_id)
    assert [(each.diff, each.subject, each.message_id) for each in again.patches] == [
        (each.diff, each.subject, each.message_id) for each in loaded.patches
    ]
    tree = put(tmp_path / "tree", PRISTINE)
    assert patched_files(tree, [again], matrix.parse("mine/1+2", [again]))[0] == {**umlaut, **TWO}


def test_a_git_range(tmp_path: Path) -> None:
    """Whatever the user's git makes of a diff; the checkout is not touched."""
    mails(tmp_path, ONE, TWO)
    work = tmp_path / "work"
    for key, value in (
        ("diff.noprefix", "true"),
        ("format.attach", "x"),
        ("format.numbered", "false"),
    ):
        git(work, "config", key, value)
    git(work, "tag", "mended")
    (work / STEP).write_text("dirty\n")
    loaded = series.load(f"git:{work}#HEAD~2..mended", ROOT)
    assert loaded.name == "mended"
    assert [(patch.id, patch.subject) for patch in loaded.patches] == [
        ("1", "kernel: change 1"),
        ("2", "kernel: change 2"),
    ]
    assert loaded.base_commit == git(work, "rev-parse", "HEAD~2").strip()
    assert series.load(f"git:{work}#HEAD~1..HEAD", ROOT).name == "work"
    tree = put(tmp_path / "tree", PRISTINE)
    assert patched_files(tree, [loaded], matrix.parse("mended/1+2", [loaded]))[0] == {**ONE, **TWO}
    assert git(work, "status", "--porcelain") == f" M {STEP}\n"


def test_in_a_hook_of_another_repository_the_one_named_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a diff is applied to the folder that was named, whatever git says where it is."""
    mails(tmp_path, ONE, TWO)
    mails(tmp_path / "other", THREE)
    usual = series.load(f"git:{tmp_path}/work#HEAD~2..HEAD", ROOT)
    other = tmp_path / "other/work"
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    for name, value in {
        "GIT_DIR": other / ".git",
        "GIT_COMMON_DIR": other / ".git",
        "GIT_WORK_TREE": other,
        "GIT_INDEX_FILE": other / ".git/index",
        "GIT_PREFIX": "kernel/",
    }.items():
        monkeypatch.setenv(name, str(value))
    loaded = series.load(f"git:{tmp_path}/work#HEAD~2..HEAD", ROOT)
    assert loaded == usual
    assert len(loaded.patches) == 2
    tree = put(tmp_path / "tree", PRISTINE)
    variant = matrix.parse(f"{loaded.name}/1+2", [loaded])
    assert patched_files(tree, [loaded], variant)[0] == {**ONE, **TWO}
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("revisions", "message"),
    [
        ("HEAD..HEAD~1", "HEAD~1 has no commits that are not in HEAD; swap them"),
        ("HEAD..HEAD", "HEAD has no commits that are not in HEAD; they are the same commit"),
        ("mend..HEAD", 'there is no revision "mend"; did you mean "mended"?'),
        ("HEAD~1..--all", 'there is no revision "--all"'),
        ("HEAD", "must be git:DIR#A..B"),
        ("HEAD~1...HEAD", "must be git:DIR#A..B"),
        ("..HEAD", "must be git:DIR#A..B"),
    ],
)
def test_a_git_range_that_is_none(tmp_path: Path, revisions: str, message: str) -> None:
    """In one line, with the fix."""
    mails(tmp_path, ONE)
    git(tmp_path / "work", "tag", "mended")
    with pytest.raises(RequestError) as caught:
        series.load(f"git:{tmp_path}/work#{revisions}", ROOT)
    assert message in one_line(caught)


def test_a_range_in_what_is_no_repository(tmp_path: Path) -> None:
    """Git's own reason is given."""
    with pytest.raises(RequestError, match=f"series git:{tmp_path}#a..b: .*not a git repository"):
        series.load(f"git:{tmp_path}#a..b", ROOT)


# series.yaml.


LISTED = """\
name: mine
subject: "kernel: all"
patches:
  - file: 0002-kernel-change-2.patch
    subject: "second, first"
  - file: 0001-kernel-change-1.patch
    subject: "first, second"
    merged: abc in v1.0
"""


def test_series_yaml_gives_order_and_metadata(tmp_path: Path) -> None:
    """The order is the file's, not that of the names."""
    paths = mails(tmp_path, ONE, TWO)
    (paths[0].parent / "series.yaml").write_text(LISTED)
    loaded = load_all(paths)
    assert loaded.name == "mine"
    assert [(patch.id, patch.subject, patch.merged) for patch in loaded.patches] == [
        ("1", "second, first", None),
        ("2", "first, second", "abc in v1.0"),
    ]
    assert loaded.patches[0].touched == (IRQ, "kernel/new.c")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "file: 0002-k",
            "file: 0003-k",
            ':4: no file 0003-kernel-change-2.patch here; did you mean "0002-',
        ),
        (
            "file: 0001-kernel-change-1",
            "file: 0002-kernel-change-2",
            ":6: 0002-kernel-change-2.patch is list",
        ),
        ("merged:", "mergd:", ':8: unknown key "mergd"; did you mean "merged"?'),
        ("name: mine", "name: my/mine", ':1: "name" cannot be "my/mine"'),
        ("file: 0002-", "file: ../0002-", ':4: "file" cannot be'),
        ("patches:\n", "patches: []\nmore:\n", ':3: "patches" is empty'),
        (
            "    merged: abc in v1.0",
            "    ports:\n      - file: 6.12/0001.patch\n        why: x",
            ":9: no file 6.12/0001.patch here",
        ),
        (
            '  - file: 0002-kernel-change-2.patch\n    subject: "second, first"\n',
            "",
            ":3: 0002-kernel-change-2",
        ),
    ],
)
def test_a_fault_in_series_yaml_has_its_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    """Schema faults and those that only the folder shows."""
    assert old in LISTED
    folder = mails(tmp_path, ONE, TWO)[0].parent
    (folder / "series.yaml").write_text(LISTED.replace(old, new))
    with pytest.raises(RequestError) as caught:
        series.load(str(folder), ROOT)
    assert one_line(caught).removeprefix(str(folder / "series.yaml")).startswith(message)


# What is refused.


LINK = """\
diff --git a/s b/s
new file mode 120000
--- /dev/null
+++ b/s
@@ -0,0 +1 @@
+/etc/passwd
"""


@pytest.mark.parametrize(
    ("diff", "message"),
    [
        ("hello\n", ": is not a patch: No valid patches in input"),
        ("", ": is empty; save the thread or the patch again"),
        (
            "--- a/x\n+++ b/x\n@@ -1,3 +1 @@\n-a\n+b\n",
            ":6: is not a patch: corrupt patch at line 6",
        ),
        (
            "--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n",
            ": patch 1 reaches outside the tree: ../x",
        ),
        (
            "--- a//etc/x\n+++ b//etc/x\n@@ -1 +1 @@\n-a\n+b\n",
            ": patch 1 reaches outside the tree: /etc/x",
        ),
        (
            "--- a/.git/x\n+++ b/.git/x\n@@ -1 +1 @@\n-a\n+b\n",
            ": patch 1 reaches outside the tree: .git/x",
        ),
        (
            "diff --git a/../o b/n\nsimilarity index 100%\nrename from ../o\nrename to n\n",
            ": patch 1 reaches outside the tree: ../o",
        ),
        (LINK, ": patch 1 has a symbolic link or submodule"),
        (LINK.replace("120000", "160000"), ": patch 1 has a symbolic link or submodule"),
        (
            "diff --git a/s b/s\nold mode 100644\nnew mode 120000\n",
            ": patch 1 has a symbolic link or submodule",
        ),
    ],
)
def test_what_is_no_patch_or_leaves_the_tree_is_refused(
    tmp_path: Path, diff: str, message: str
) -> None:
    """A patch under review is untrusted."""
    path = tmp_path / "0001-it.patch"
    path.write_text(diff)
    with pytest.raises(RequestError) as caught:
        series.load(str(tmp_path), ROOT)
    assert one_line(caught).removeprefix(str(path)).startswith(message)


def test_a_file_whose_name_looks_like_a_mode_is_no_link(tmp_path: Path) -> None:
    """The check reads git's summary, where names stand beside modes."""
    loaded = load_all(mails(tmp_path, {"docs/120000": "x\n", "120000 ": "y\n"}))
    assert loaded.patches[0].touched == ("120000 ", "docs/120000")


@pytest.mark.parametrize("spec", ["v55", "", "none.patch", "patches"])
def test_an_unknown_series_is_told_with_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    """One line, before anything is built."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match=f'series "{spec}" is not a folder.*(v5, v6|"v5")'):
        series.load(spec, ROOT)


def test_a_folder_without_patches_is_refused(tmp_path: Path) -> None:
    """Rather than a series of none."""
    with pytest.raises(RequestError, match=r"contains no \*\.patch"):
        series.load(str(tmp_path), ROOT)
