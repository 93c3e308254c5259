# SPDX-License-Identifier: GPL-2.0-only
"""A series that stands on another: what its mails say is read, and a refusal names it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import RequestError
from kstep.run import request
from kstep.source import patched, prerequisite, series, standing
from kstep.source import variant as matrix
from kstep.source.patched import Unpatched
from tests.unit.source.test_series import (
    ONE,
    PRISTINE,
    ROOT,
    STEP,
    Tree,
    git,
    mails,
    one_line,
    patched_files,
    put,
    text,
)

if TYPE_CHECKING:
    from pathlib import Path

# Changes the line that ONE has made.
ON_ONE: Tree = {STEP: text(STEP, line_3="one and two\n")}


class Work:
    """A repository with ONE and what stands on it; kstep's folder is beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        first, _ = mails(folder / "made", ONE, ON_ONE)
        self.repository = folder / "made/work"
        self.first = first.read_bytes()
        self.base = git(self.repository, "rev-parse", "HEAD~2").strip()
        shown = git(self.repository, "format-patch", "-1", "--stdout", f"--base={self.base}")
        self.second = folder / "second.patch"
        self.second.write_text(shown)
        (self.id,) = re.findall(r"^prerequisite-patch-id: (\w+)$", shown, re.MULTILINE)
        self.tree = put(folder / "tree", PRISTINE)
        self.root = folder / "root"
        for name in ("tests", "kconfigs"):
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.root / name).symlink_to(ROOT / name)

    def keep_first(self, name: str = "first") -> series.Series:
        """Save what the other stands on under patches/."""
        path = self.folder / f"{name}.patch"
        path.write_bytes(self.first)
        loaded = series.load(str(path), self.root)
        series.save(loaded, name, self.root / "patches" / name)
        return loaded

    def asked(self, *specs: str) -> series.Series:
        """Look a request up, as a command does; return the series that stands on the other."""
        asked = request.look_up(
            self.root,
            series_specs=[*specs, str(self.second)],
            tree_specs=["debian:6.1"],
            session_names=["step-in-order"],
        )
        return asked.series[-1]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """Return what git has made."""
    return Work(tmp_path)


def refusal(work: Work, loaded: series.Series) -> str:
    """Return how a tree without the prerequisite refuses it."""
    with pytest.raises(RequestError) as caught:
        Unpatched.of(work.tree, [loaded]).patched(matrix.parse(f"{loaded.name}/1", [loaded]))
    return one_line(caught)


def test_what_git_writes_is_read(work: Work) -> None:
    loaded = series.load(str(work.second), ROOT)
    assert loaded.base_commit == work.base
    (found,) = loaded.prerequisites
    assert (found.kind, found.id) == ("patch-id", work.id)


def test_a_refusal_names_what_nobody_knows_by_its_id(work: Work) -> None:
    said = refusal(work, work.asked())
    assert f"; it stands on patch-id {work.id[:12]}, not in this tree; put that" in said


@pytest.mark.parametrize("given", [True, False], ids=["given too", "in patches/"])
def test_a_refusal_names_what_is_at_hand_by_its_subject(work: Work, *, given: bool) -> None:
    work.keep_first()
    loaded = work.asked(*(["first"] if given else []))
    assert 'stands on first/1 "kernel: change 1", not in this tree' in refusal(work, loaded)


def test_in_a_tree_that_has_it_nothing_is_missing(work: Work) -> None:
    work.keep_first()
    loaded = work.asked()
    assert patched.missing(loaded, work.tree) == ['first/1 "kernel: change 1"']
    put(work.tree, ONE)
    assert patched.missing(loaded, work.tree) == []
    variant = matrix.parse("second/1", [loaded])
    assert patched_files(work.tree, [loaded], variant)[0] == ON_ONE


def test_both_in_one_mbox_apply_as_the_refusal_says(work: Work) -> None:
    both = work.folder / "both"
    both.mkdir()
    (both / "1.patch").write_bytes(work.first.replace(b"[PATCH 1/2]", b"[PATCH]"))
    (both / "2.patch").write_bytes(work.second.read_bytes())
    loaded = series.load(str(both), ROOT)
    variant = matrix.parse("both/1+2", [loaded])
    assert patched_files(work.tree, [loaded], variant)[0] == ON_ONE
    assert loaded.prerequisites
    assert standing.look_up(loaded, []).prerequisites == ()  # it is its own


def test_a_base_alone_is_named(work: Work) -> None:
    shown = work.second.read_text()
    work.second.write_text(re.sub(r"^prerequisite-.*\n", "", shown, flags=re.MULTILINE))
    assert f"; it was made for commit {work.base[:12]}; rebase it" in refusal(work, work.asked())


def test_ids_of_mails_are_found_too(work: Work) -> None:
    """As b4 writes them: of the cover letter, so the whole series; and what is not here."""
    work.first = b"Message-ID: <one@example.org>\n" + work.first.split(b"\n", 1)[1]
    work.keep_first()
    trailers = (
        "prerequisite-message-id: <one@example.org>\n"
        "prerequisite-change-id: 20260101-x-0123456789ab:v2\n"
        "prerequisite-message-id: other@example.org\n"
    )
    shown = re.sub(r"^prerequisite-.*\n", trailers, work.second.read_text(), flags=re.MULTILINE)
    work.second.write_text(shown)
    assert list(map(str, work.asked().prerequisites)) == [
        'first/1 "kernel: change 1"',
        "change-id 20260101-x-0123456789ab:v2",
        "message-id other@example.org",
    ]


def test_a_diff_that_has_such_a_line_says_nothing() -> None:
    """Nor a quoted mail."""
    lines = (b"+", b"-", b" ", b"> ", b"xprerequisite")
    mail = b"\n".join(line + b"prerequisite-patch-id: " + b"a" * 40 for line in lines)
    assert prerequisite.read([mail]) == ()


def test_a_saved_series_keeps_them(work: Work) -> None:
    loaded = series.load(str(work.second), ROOT)
    series.save(loaded, "mine", work.root / "patches/mine")
    again = series.load("mine", work.root)
    assert again.prerequisites == loaded.prerequisites
    assert again.base_commit == loaded.base_commit
