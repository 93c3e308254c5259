# SPDX-License-Identifier: GPL-2.0-only
"""A bisection, but for the kernels: its ends, its certainty, and what git is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.bisect import search as bisect
from kstep.bisect.search import ABORT, BAD, GOOD, SKIP, Found, Place, Verdict, times
from kstep.results.rate import Rate
from kstep.source.git import Repository
from kstep.source.tree import LINUX
from tests.unit.source.test_series import git

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make a history of three commits that looks like Linux, and one beside it."""
    work = tmp_path / "work"
    for name in LINUX:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("VERSION = 6\n")
    git(work, "init", "--quiet")
    for number in (1, 2, 3):
        (work / f"file{number}").write_text("x\n")
        git(work, "add", "--all")
        git(work, "commit", "--quiet", f"--message=change {number}")
        git(work, "tag", f"v{number}")
    git(work, "checkout", "--quiet", "-b", "other", "v1")
    git(work, "commit", "--quiet", "--allow-empty", "--message=other")
    git(work, "checkout", "--quiet", "--detach", "v3")
    return work


def ask(work: Path, **more: str | float) -> bisect.Request:
    """Ask for a bisection between the ends of the history."""
    asked: dict[str, str | float] = {
        "tree": f"git:{work}",
        "good": "v1",
        "bad": "v3",
        "session_name": "continue-past-breakpoint",
        **more,
    }
    return bisect.request(ROOT, **asked)  # type: ignore[arg-type]  # a table of wrong ones


def test_what_is_asked_for_is_looked_up(work: Path) -> None:
    """Without a function, the first of the session's."""
    asked = ask(work)
    assert asked.good == git(work, "rev-parse", "v1").strip()
    assert asked.what == f"continue-past-breakpoint[{asked.session.case_names[0]}]"
    assert ask(work, function="vfs_mkdir").what == "continue-past-breakpoint[vfs_mkdir]"
    assert ask(work, session_name="step-idle").what == "step-idle"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tree": "debian:6.1"}, "--tree debian:6.1: a bisection takes a repository: git:DIR"),
        ({"tree": "git:x#v1"}, "--tree git:x#v1: a bisection takes a repository: git:DIR"),
        ({"tree": "git:/"}, "tree git:/: git cannot read it: not a git repository"),
        ({"good": "v0"}, 'there is no revision "v0"; there are: master, other, v1'),
        ({"good": "v3", "bad": "v1"}, "--good v3 came after --bad v1; swap them"),
        ({"good": "v3"}, "--good v3 and --bad v3 are the same commit; name two"),
        ({"bad": "other", "good": "v2"}, "--bad other did not come of --good v2; name a revision"),
        ({"session_name": "continue"}, 'session "continue" does not exist; did you mean "step-'),
        (
            {"session_name": "kdb-lockdown"},
            "session kdb-lockdown: it needs CONFIG_SECURITY_LOCKDOWN_LSM, which kconfig base does",
        ),
        ({"function": "vfs_mkdr"}, '"vfs_mkdr" is no case of continue-past-breakpoint; did you'),
        ({"confidence": 1.0}, "--confidence 1.0: it is from 0.5 to below 1, such as 0.95"),
        ({"confidence": 95.0}, "--confidence 95.0: it is from 0.5 to below 1, such as 0.95"),
        ({"kconfig_name": "nothing"}, "kconfig nothing: "),
    ],
)
def test_what_cannot_be(work: Path, wrong: dict[str, str | float], message: str) -> None:
    """In one line, before anything is built."""
    with pytest.raises(RequestError) as caught:
        ask(work, **wrong)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_history_of_something_else(work: Path) -> None:
    git(work, "rm", "--quiet", "arch/arm64/Makefile")
    git(work, "commit", "--quiet", "--message=no arm64")
    with pytest.raises(RequestError, match="HEAD is no Linux source with arch/arm64"):
        ask(work, bad="HEAD")


@pytest.mark.parametrize("failing", [Rate(8, 8), Rate(8, 11), Rate(8, 24), Rate(1, 24)])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("verdicts", [1, 5, 15])
def test_so_many_passes_are_as_sure_as_was_said(
    failing: Rate, confidence: float, verdicts: int
) -> None:
    """And one fewer would not be."""
    low, _ = failing.interval(confidence)
    needed = times(failing, verdicts, confidence)
    assert verdicts * (1 - low) ** needed <= 1 - confidence + 1e-9
    assert needed == 1 or verdicts * (1 - low) ** (needed - 1) > 1 - confidence - 1e-9


def test_a_fault_that_always_shows_costs_few_runs() -> None:
    assert times(Rate(8, 8), 5, 0.95) <= 5
    assert times(Rate(8, 8), 5, 0.8) <= 2
    assert times(Rate(8, 24), 5, 0.95) > 20


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict("a" * 40, "x", GOOD, ("pass",) * 4), f"good     {'a' * 12} x: passes 4 of 4"),
        (Verdict("a" * 40, "x", BAD, ("pass", "stuck")), f"bad      {'a' * 12} x: stuck in run 2"),
        (Verdict("a" * 40, "x", SKIP, (), "why"), f"skipped  {'a' * 12} x: why"),
    ],
)
def test_a_verdict_in_words(verdict: Verdict, words: str) -> None:
    assert str(verdict) == words


@pytest.mark.parametrize(
    ("status", "wanted", "mend"),
    [
        (BAD, GOOD, "--good aaaaaaaaaaaa stuck in run 1: name an older revision"),
        (GOOD, BAD, "--bad aaaaaaaaaaaa passes 0 of 1: name a revision with the fault"),
        (SKIP, BAD, "--bad aaaaaaaaaaaa cannot be run: why; name a revision that can"),
    ],
)
def test_ends_that_are_not_as_was_said(status: int, wanted: int, mend: str) -> None:
    runs = () if status == SKIP else ("stuck",)
    with pytest.raises(RequestError) as caught:
        bisect._require(
            Verdict("a" * 40, "x", status, runs, "why"), wanted, mend.split(maxsplit=1)[0]
        )
    assert str(caught.value) == mend


def test_what_was_found_says_how_sure_it_is() -> None:
    first = Verdict("b" * 40, "the fault", BAD, ("rehit",), "hit again\nmore")
    found = Found(first, (), (first,), Rate(8, 8), 4, 0.95)
    assert found.text()[:2] == [f"first bad commit: {'b' * 40} the fault", "  hit again"]
    assert "in 8 of 8 runs with --bad, so in at least 68 % of them" in found.text()[2]
    assert "passed 4 times: 95 % sure" in found.text()[2]
    none = Found(None, ("abc one", "def two"), (), Rate(8, 8), 4, 0.95)
    assert none.text()[1:] == ["  abc one", "  def two"]


def test_the_user_s_repository_is_only_read(work: Path, tmp_path: Path) -> None:
    """Its commits are checked out elsewhere; of files that are the same none is touched."""
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    place = Place(tmp_path / "place")
    for _ in range(2):
        place.borrow(Repository(work, "it"))
        place.check_out(git(work, "rev-parse", "v3").strip())
        kept = (place.source / "Makefile").stat().st_mtime_ns
        place.check_out(git(work, "rev-parse", "v1").strip())
        assert not (place.source / "file3").exists()
        assert (place.source / "Makefile").stat().st_mtime_ns == kept
        place.git("bisect", "start", git(work, "rev-parse", "v3").strip())
    assert not (place.source / ".git").exists()
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_git_s_own_words_where_it_fails(work: Path, tmp_path: Path) -> None:
    place = Place(tmp_path / "place")
    place.borrow(Repository(work, "it"))
    with pytest.raises(MachineryError, match="git checkout failed") as caught:
        place.check_out("0" * 40)
    assert caught.value.details


def broken() -> None:
    raise ZeroDivisionError


def interrupted() -> None:
    raise KeyboardInterrupt


def without_machine() -> None:
    raise MachineryError("no engine")


@pytest.mark.parametrize(
    ("make", "status"), [(broken, ABORT), (interrupted, ABORT + 2), (without_machine, ABORT)]
)
def test_nothing_but_a_verdict_looks_like_one(
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[], None],
    status: int,
) -> None:
    """Git bisect run takes 1 to 127, Python's own status among them, for bad or skipped."""
    state = {
        "root": str(ROOT),
        "tree": f"git:{work}",
        "good": "v1",
        "bad": "v3",
        "session_name": "ptrace-step",
        "toolchain": "auto",
        "folder": str(tmp_path),
        "times": 1,
    }
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))
    monkeypatch.setattr(bisect.Probe, "make", lambda *_: make())
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert bisect.step(path) == status
    assert not (tmp_path / "steps.jsonl").exists()
