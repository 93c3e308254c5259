# SPDX-License-Identifier: GPL-2.0-only
"""Every command in README.md and docs/ does what the text beside it claims.

A reader copies them. On every change the plan of each verify is checked, and commands that take
seconds are run; by night verify is run too, on one case if it names no session.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from invoke.parser import Parser

import tasks
from kstep.source.tree import LINUX
from tests.integration.command import PATIENCE, ROOT, git, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.kernel

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"(?m)^(\./inv [^\n]*)|`(\./inv [^`]*)`")
COMMENT = re.compile(r"\s+#\s.*")
ONE_CASE = "step-in-order[vfs_mkdir]"

# What other tests or CI run, because it takes long or needs what is not available here.
ELSEWHERE = {
    "./inv verify": ".ci/run",
    "./inv verify --resume RUN": "tests/integration/test_verify.py",
    "./inv test": ".ci/run",
    "./inv test --nightly": ".github/workflows/verify.yml",
    "./inv bench": "tests/unit/test_bench.py",
    "./inv ci.history": ".github/workflows/verify.yml",
    "./inv --list": "tests/unit/test_inv.py",
    "./inv bisect": "tests/integration/test_bisect.py",
    "./inv shell": "tests/integration/test_attended.py",
    "./inv gdb": "tests/integration/test_attended.py",
    "./inv soak": "tests/unit/run/test_soak.py",
    "./inv cluster.forecast": "tests/unit/cluster/test_forecast.py",
    "./inv cluster.scheduler": "tests/cluster/network.py",
    "./inv cluster.worker": "tests/cluster/network.py",
    "./inv verify --scheduler tls://HOST:8786 $tls --repeat 50": "tests/cluster/verify.py",
    "./inv series.add": "tests/unit/source/test_thread.py",  # the thread is on a server
}
QUICK = ("doctor", "sessions", "report", "compare", "merge", "ci.matrix", "ci.annotate", "step")


def commands() -> list[str]:
    """Return every documented command, without the comment after it."""
    found = (m[1] or m[2] for page in PAGES for m in COMMAND.finditer(page.read_text()))
    return list(dict.fromkeys(COMMENT.sub("", " ".join(each.split())) for each in found))


def elsewhere(command: str) -> str | None:
    """Return what else runs a command: by its prefix, or exactly for verify and test."""
    words = shlex.split(command)
    return ELSEWHERE.get(command) or (
        None if words[1] in ("verify", "test") else ELSEWHERE.get(" ".join(words[:2]))
    )


HERE = [each for each in commands() if elsewhere(each) is None]


def test_there_are_commands_of_every_page() -> None:
    assert len(HERE) > 20
    said = [page.name for page in PAGES if COMMAND.search(page.read_text())]
    assert {"README.md", "your-series.md", "by-hand.md", "ci.md", "machines.md"} <= set(said)


def test_what_runs_elsewhere_does() -> None:
    for command, path in ELSEWHERE.items():
        verb = command.split()[1].partition(".")[0]
        assert verb in (ROOT / path).read_text(), (command, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A user's folder: a fix, a session of the docs, two runs; beside it a kernel with a branch."""
    work = tmp_path_factory.mktemp("docs") / "kstep"
    work.mkdir()
    (work / "inv").symlink_to(ROOT / "inv")
    linux = work.parent / "linux"
    fix = min((ROOT / "patches/v6").glob("*.patch"))
    for name in [*LINUX, *re.findall(r"(?m)^--- a/(\S+)", fix.read_text())]:
        (linux / name).parent.mkdir(parents=True, exist_ok=True)
        (linux / name).write_bytes((source / name).read_bytes())
    git(linux, "init", "--quiet")
    git(linux, "add", "--all")
    git(linux, "commit", "--quiet", "--message=Linux 6.1")
    git(linux, "tag", "v6.1")
    git(linux, "checkout", "--quiet", "-b", "mine")
    git(linux, "apply", str(fix))
    git(linux, "commit", "--quiet", "--all", "--message=arm64: fix steps")
    mail = git(linux, "format-patch", "--stdout", "v6.1..mine")
    (work / "fix.mbox").write_text(mail)
    (work / "fix.patch").write_text(mail)
    text = (ROOT / "docs/your-series.md").read_text()
    (work / "mine.py").write_text(text.partition("```python\n")[2].partition("```")[0])
    for number, variant in enumerate(("v6/1+2", "none")):
        options = ("--series=v6", f"--variants={variant}", f"--sessions={ONE_CASE}")
        made = verify(tmp_path_factory.mktemp("made"), *options)
        assert made.status == 0, made.said
        shutil.move(made.folder, work / f"run{number}")
    return work


def words(command: str, folder: Path) -> list[str]:
    """Return the words of a command, with the names of files in the folder."""
    filled = command.replace("RUN,RUN", "run0,run1").replace("RUN RUN", "run0 run0")
    filled = filled.replace("RUN", "run0").replace("DIR", str(folder / "merged"))
    return [str(folder / "inv"), *shlex.split(filled)[1:]]


def run(argv: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in the user's folder."""
    return subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def of(*verbs: str) -> Callable[[str], bool]:
    """Whether a command is one of some verbs."""
    return lambda command: command.split()[1] in verbs


@pytest.mark.parametrize("command", [each for each in HERE if of("verify")(each)])
def test_what_verify_is_asked_for_is_there(
    command: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    (asked,) = Parser(contexts=tasks.namespace.to_contexts()).parse_argv(words(command, folder)[1:])
    # A process for each would take most of a minute.
    assert tasks.verify.body.__wrapped__(None, **{**asked.as_kwargs, "plan": True}) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 1


@pytest.mark.nightly
@pytest.mark.parametrize(
    "command",
    [
        each
        for each in HERE
        if of("verify")(each) and not re.search("--plan|--machine|--accel kvm", each)
    ],
)
def test_verify_comes_to_a_verdict(
    command: str, folder: Path, source: Path, tmp_path: Path
) -> None:
    shorter = command.replace("--repeat 20", "--repeat 2")
    argv = words(shorter.replace("path:../linux", f"path:{source}"), folder)
    argv += ["--out", str(tmp_path / "run")]
    if "--sessions" not in command:
        argv += ["--sessions", ONE_CASE]
    done = run(argv, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run/report.html").exists()


@pytest.mark.parametrize("command", [each for each in HERE if of(*QUICK)(each)])
def test_what_takes_seconds_is_run(command: str, folder: Path) -> None:
    done = run(words(command, folder), folder)
    # Status 1 of step: the kernel of the example does leave program order.
    wanted = 1 if "--variant v6/2" in command else 0
    assert done.returncode == wanted, done.stdout + done.stderr
    assert done.stdout.strip() or of("ci.annotate")(command)


@pytest.mark.parametrize("command", [each for each in HERE if of("guest")(each)])
def test_a_guest_is_written(command: str, folder: Path) -> None:
    done = run(words(command, folder), folder)
    assert done.returncode == 0, done.stderr
    assert {each.name for each in (folder / "boot").iterdir()} >= {"Image", "cmdline"}


def test_every_command_is_run_by_one_of_these() -> None:
    for command in HERE:
        assert of("verify", "guest", *QUICK)(command), command
