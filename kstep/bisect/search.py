# SPDX-License-Identifier: GPL-2.0-only
"""Which commit broke a session: git bisect run over a history, a real kernel at every step.

Git chooses the revisions and checks them out (``worktree``). A separate process, also of this
module, judges each (``probe``).
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base.cache import Cache
from kstep.base.errors import MachineryError, RequestError
from kstep.base.progress import Progress
from kstep.bisect import request
from kstep.bisect.probe import ABORT, BAD, GOOD, SKIP, Probe, Verdict, first_line
from kstep.results.rate import repeats_to_see

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.bisect.request import BisectRequest
    from kstep.results.rate import Rate

FIRST_BAD = re.compile(r"^# first bad commit: \[(\w+)\]", re.MULTILINE)
SUSPECT = re.compile(r"^# possible first bad commit: \[(\w+)\] (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """The result of a bisection: ``first_bad``, or the commits among which it must be."""

    first_bad: Verdict | None
    suspects: tuple[str, ...]
    steps: tuple[Verdict, ...]
    failing: Rate
    times: int
    confidence: float

    def text(self) -> list[str]:
        """Describe the result and its confidence."""
        low, _ = self.failing.interval(self.confidence)
        sure = (
            f"--bad failed in {self.failing.passes} of {self.failing.total} runs, so it fails in at"
            f" least {100 * low:.0f} %; each kernel called good passed"
            f" {self.times} times: {100 * self.confidence:.0f} % confidence that no bad kernel was"
            " called good"
        )
        if self.first_bad is None:
            listed = [f"  {each}" for each in self.suspects]
            return ["the first bad commit is one of these; some cannot be run:", *listed]
        return [
            f"first bad commit: {self.first_bad.commit} {self.first_bad.subject}",
            f"  {first_line(self.first_bad.message)}" if self.first_bad.message else "",
            sure,
        ]


def bisect(
    asked: BisectRequest,
    folder: Path,
    toolchain_kind: str,
    cache: Cache,
    progress: Progress,
) -> Found:
    """Find the first commit at which the session fails; ``folder`` is new, for the runs' files.

    Raises RequestError if --good fails or --bad passes, MachineryError if git or the machine
    fails.
    """
    if asked.repository.is_dirty():
        progress.say(f"{asked.repository.named}: uncommitted changes are ignored")
    probe = Probe.make(asked, folder, toolchain_kind, cache, progress)
    work_tree = probe.work_tree
    folder.mkdir(parents=True)
    with cache.lock(f"bisect-{work_tree.folder.name}"):
        work_tree.borrow(asked.repository)
        number = asked.repository.count(asked.good, asked.bad)
        verdicts = max(1, math.ceil(math.log2(number)) + 1)
        progress.say(f"{number} commits, about {verdicts - 1} steps, with {asked.what}")
        with progress.task("checking out"):
            work_tree.check_out(asked.bad)
        failing, bad = probe.failing(asked.bad)
        progress.say(str(bad))
        _require(bad, BAD, "--bad")
        often = repeats_to_see(failing, verdicts, asked.confidence)
        progress.say(
            f"fails in {failing.passes} of {failing.total} runs; a commit must pass {often} runs"
            " to be called good"
        )
        work_tree.check_out(asked.good)
        good = probe.verdict(asked.good, often)
        progress.say(str(good))
        _require(good, GOOD, "--good")
        said = _git_bisect_run(probe, toolchain_kind, often)
        log = work_tree.git("bisect", "log")
    (folder / "bisect.log").write_text(log)
    steps = (bad, good, *_steps(folder))
    first = FIRST_BAD.search(log)
    suspects = tuple(" ".join(each) for each in SUSPECT.findall(log))
    if not first and not suspects:
        raise MachineryError("git bisect run ended without a result", details=tuple(said[-5:]))
    named = {each.commit: each for each in steps}
    found = Found(
        named[first[1]] if first else None, suspects, steps, failing, often, asked.confidence
    )
    (folder / "bisect.json").write_text(json.dumps(asdict(found), indent=1) + "\n")
    return found


def _require(verdict: Verdict, status: int, option: str) -> None:
    """Raise RequestError if an end of the history does not have the verdict ``status``."""
    if verdict.status == status:
        return
    if verdict.status == SKIP:
        raise RequestError(
            f"{option} {verdict.commit[:12]} cannot be run: {verdict.message}; name a revision"
            " that can"
        )
    fix = "name an older revision" if status == GOOD else "name a revision with the fault"
    raise RequestError(f"{option} {verdict.commit[:12]} {verdict.result}: {fix}")


def _git_bisect_run(probe: Probe, kind: str, often: int) -> list[str]:
    """Let git choose the revisions; a separate process judges each. Return git's output."""
    asked, work_tree = probe.asked, probe.work_tree
    users = {name: value for name, value in os.environ.items() if name.startswith("GIT_")}
    state = {
        "root": str(asked.root),
        "tree": f"git:{asked.repository.folder.absolute()}",
        "good": asked.good,
        "bad": asked.bad,
        "session_name": asked.selector,
        "function": asked.case or "",
        "kconfig_name": asked.kconfig.text,
        "confidence": asked.confidence,
        "toolchain": kind,
        "folder": str(probe.folder.absolute()),
        "times": often,
        "environment": users,
    }
    path = probe.folder.absolute() / "state.json"
    path.write_text(json.dumps(state))
    work_tree.git("bisect", "start", asked.bad, asked.good)
    # -P: never import from the working directory, which is the kernel under test.
    step = [sys.executable, "-P", "-m", "kstep.bisect.search", str(path)]
    inherited = {name: value for name, value in os.environ.items() if name not in users}
    git = work_tree.command
    said = []
    process = subprocess.Popen(
        git.argv("bisect", "run", *step),
        cwd=work_tree.source,
        env={**inherited, **git.environment, "PYTHONPATH": str(asked.root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            said += [line.rstrip() for line in process.stdout or ()]
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            for _ in process.stdout or ():  # ends when all of its processes have ended
                pass
            raise
    return said


def _steps(folder: Path) -> Iterator[Verdict]:
    path = folder / "steps.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        item = json.loads(line)
        yield Verdict(**{**item, "runs": tuple(item["runs"])})


def step(path: Path) -> int:
    """Judge the commit that git bisect has checked out; return the exit status for git.

    Anything but a verdict on the kernel ends the search.
    """
    state = json.loads(path.read_text())
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]  # set by git for the work tree
    os.environ.update(state.pop("environment"))  # the user's, for the user's repository
    often, kind, folder = state.pop("times"), state.pop("toolchain"), Path(state.pop("folder"))
    try:
        with Progress() as progress:
            asked = request.look_up(Path(state.pop("root")), **state)
            probe = Probe.make(asked, folder, kind, Cache.default(), progress)
            verdict = probe.verdict(probe.work_tree.commit(), often)
            progress.say(str(verdict))
    except KeyboardInterrupt:
        return ABORT + signal.SIGINT
    except (RequestError, MachineryError, OSError) as error:
        said = (f"kstep: {error}", *getattr(error, "details", ()))
        print(*said, sep="\n  ", file=sys.stderr)  # noqa: T201 -- for the user
        return ABORT
    except Exception:  # noqa: BLE001 -- Python's own status, 1, would be a verdict
        traceback.print_exc()
        return ABORT
    with (folder / "steps.jsonl").open("a") as steps:
        steps.write(json.dumps(asdict(verdict)) + "\n")
    return verdict.status


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    os.umask(0o022)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(step(Path(sys.argv[1])))
