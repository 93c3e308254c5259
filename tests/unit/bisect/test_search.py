# SPDX-License-Identifier: GPL-2.0-only
"""A bisection, but for the kernels: its ends, its certainty, and what git is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.bisect import search
from kstep.bisect.probe import ABORT, BAD, GOOD, SKIP, Probe, Verdict
from kstep.bisect.search import Found
from kstep.bisect.worktree import WorkTree
from kstep.results.rate import Rate, repeats_to_see
from tests.unit.bisect.history import a_history

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[3]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make a history."""
    return a_history(tmp_path / "work")


@pytest.mark.parametrize("failing", [Rate(8, 8), Rate(8, 11), Rate(8, 24), Rate(1, 24)])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("verdicts", [1, 5, 15])
def test_so_many_passes_are_as_sure_as_was_said(
    failing: Rate, confidence: float, verdicts: int
) -> None:
    """And one fewer would not be."""
    low, _ = failing.interval(confidence)
    needed = repeats_to_see(failing, verdicts, confidence)
    assert verdicts * (1 - low) ** needed <= 1 - confidence + 1e-9
    assert needed == 1 or verdicts * (1 - low) ** (needed - 1) > 1 - confidence - 1e-9


def test_a_fault_that_always_shows_costs_few_runs() -> None:
    assert repeats_to_see(Rate(8, 8), 5, 0.95) <= 5
    assert repeats_to_see(Rate(8, 8), 5, 0.8) <= 2
    assert repeats_to_see(Rate(8, 24), 5, 0.95) > 20


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
        search._require(
            Verdict("a" * 40, "x", status, runs, "why"), wanted, mend.split(maxsplit=1)[0]
        )
    assert str(caught.value) == mend


def test_what_was_found_says_how_sure_it_is() -> None:
    first = Verdict("b" * 40, "the fault", BAD, ("rehit",), "hit again\nmore")
    found = Found(first, (), (first,), Rate(8, 8), 4, 0.95)
    assert found.text()[:2] == [f"first bad commit: {'b' * 40} the fault", "  hit again"]
    assert "--bad failed in 8 of 8 runs, so it fails in at least 68 %" in found.text()[2]
    assert "passed 4 times: 95 % confidence that no bad kernel was called good" in found.text()[2]
    none = Found(None, ("abc one", "def two"), (), Rate(8, 8), 4, 0.95)
    assert none.text()[1:] == ["  abc one", "  def two"]


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
        "environment": {},
    }
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))
    monkeypatch.setattr(Probe, "make", lambda *_: make())
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert search.step(path) == status
    assert not (tmp_path / "steps.jsonl").exists()


def test_a_step_has_the_user_s_settings_back_and_not_git_s(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git's say where it works, by nobody's configuration; whom the user trusts is in theirs."""
    users = {"GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    state = {
        "root": str(ROOT),
        "tree": f"git:{work}",
        "good": "v1",
        "bad": "v3",
        "session_name": "ptrace-step",
        "toolchain": "auto",
        "folder": str(tmp_path),
        "times": 1,
        "environment": users,
    }
    path = tmp_path / "state.json"
    path.write_text(json.dumps(state))
    found: dict[str, str] = {}

    def make(*_: object) -> None:
        found.update({name: value for name, value in os.environ.items() if name[:4] == "GIT_"})
        raise MachineryError("seen")

    monkeypatch.setattr(Probe, "make", make)
    # All that there is, so that what the step does to it is undone.
    monkeypatch.setattr(os, "environ", {**os.environ, **WorkTree(tmp_path).command.environment})
    assert search.step(path) == ABORT
    assert found == users
