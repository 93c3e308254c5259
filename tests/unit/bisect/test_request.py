# SPDX-License-Identifier: GPL-2.0-only
"""What a bisection is asked for: looked up before anything is built, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kstep.base.errors import RequestError
from kstep.bisect.request import BisectRequest, look_up
from tests.unit.bisect.history import a_history
from tests.unit.source.test_series import git

ROOT = Path(__file__).parents[3]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Make a history."""
    return a_history(tmp_path / "work")


def ask(work: Path, **more: str | float) -> BisectRequest:
    """Ask for a bisection between the ends of the history."""
    asked: dict[str, str | float] = {
        "tree": f"git:{work}",
        "good": "v1",
        "bad": "v3",
        "session_name": "continue-past-breakpoint",
        **more,
    }
    return look_up(ROOT, **asked)  # type: ignore[arg-type]  # a table of wrong ones


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
        (
            {"tree": "debian:6.1"},
            "--tree debian:6.1: must be a repository for a bisection: git:DIR",
        ),
        ({"tree": "git:x#v1"}, "--tree git:x#v1: must be a repository for a bisection: git:DIR"),
        ({"tree": "git:/"}, "tree git:/: git cannot read it: not a git repository"),
        ({"good": "v0"}, 'there is no revision "v0"; there are: master, other, v1'),
        ({"good": "v3", "bad": "v1"}, "--good v3 came after --bad v1; swap them"),
        ({"good": "v3"}, "--good v3 and --bad v3 are the same commit; name two"),
        (
            {"bad": "other", "good": "v2"},
            "--bad other is not a descendant of --good v2; name an anc",
        ),
        ({"session_name": "continue"}, 'session "continue" does not exist; did you mean "step-'),
        (
            {"session_name": "kdb-lockdown"},
            "session kdb-lockdown: needs CONFIG_SECURITY_LOCKDOWN_LSM, which kconfig base does",
        ),
        ({"function": "vfs_mkdr"}, '"vfs_mkdr" is not a case of continue-past-breakpoint; did you'),
        ({"confidence": 1.0}, "--confidence 1.0: must be at least 0.5 and below 1, such as 0.95"),
        ({"confidence": 95.0}, "--confidence 95.0: must be at least 0.5 and below 1, such as 0.95"),
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
    with pytest.raises(RequestError, match="HEAD is not a Linux source with arch/arm64"):
        ask(work, bad="HEAD")
