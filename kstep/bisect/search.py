# SPDX-License-Identifier: GPL-2.0-only
"""Which commit broke a session: git bisect run over a history, a real kernel at every step.

The revisions are checked out by git into a work tree of kstep's own, one after the other
and with one folder of objects beside it, so that each build compiles what differs from the
one before. The user's repository is only read: its objects are borrowed, not copied.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kstep import toolchain
from kstep.base.cache import Cache
from kstep.base.document import nearest
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Outcome, Signature
from kstep.base.progress import Progress
from kstep.build import initramfs, kconfig
from kstep.build.kernel import Builder, BuildError
from kstep.results.rate import CONFIDENCE, Rate
from kstep.run import runner
from kstep.run.plan import Cell
from kstep.session import session
from kstep.source import tree as trees
from kstep.source.git import Repository
from kstep.source.patched import PatchedTree
from kstep.source.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.build.kconfig import KconfigRequest
    from kstep.build.kernel import Kernel
    from kstep.run.runner import Result
    from kstep.session.session import Session
    from kstep.toolchain import Toolchain, Versions

# What the command of git bisect run tells git.
GOOD, BAD, SKIP, ABORT = 0, 1, 125, 128
FAILURES = 8  # of the bad revision, from which it is known how often the fault shows itself
MOST = 40  # runs in which the bad revision has to fail so often, or fails rarely
TRIES = 3  # of a run that came to no verdict
FIRST_BAD = re.compile(r"^# first bad commit: \[(\w+)\]", re.MULTILINE)
SUSPECT = re.compile(r"^# possible first bad commit: \[(\w+)\] (.*)$", re.MULTILINE)
UNCHANGED = PatchedTree({}, frozenset(), {}, {}, hashlib.sha256(b"").hexdigest())


@dataclass(frozen=True)
class Request:
    """What is looked for, each part found to exist; nothing has been fetched or built."""

    root: Path
    repository: Repository
    good: str
    bad: str
    session: Session
    case: str | None
    kconfig: KconfigRequest
    confidence: float

    @property
    def what(self) -> str:
        """The session, with the case in brackets where there is one."""
        return self.session.name if self.case is None else f"{self.session.name}[{self.case}]"


def request(
    root: Path,
    *,
    tree: str,
    good: str,
    bad: str,
    session_name: str,
    function: str = "",
    kconfig_name: str = kconfig.BASE,
    confidence: float = CONFIDENCE,
) -> Request:
    """Look everything up; raises RequestError for what is not there or cannot be."""
    kind, _, place = tree.partition(":")
    if kind != "git" or not place or "#" in place:
        raise RequestError(f"--tree {tree}: a bisection takes a repository: git:DIR")
    if not 0.5 <= confidence < 1:  # noqa: PLR2004 -- less than a coin knows is no confidence
        raise RequestError(f"--confidence {confidence}: it is from 0.5 to below 1, such as 0.95")
    found = session.load(root / "tests/sessions")
    if session_name not in found:
        raise RequestError(
            f'session "{session_name}" does not exist; {nearest(session_name, found)}'
        )
    script = found[session_name]
    names = [name for name in script.case_names if name]
    if function and function not in names:
        raise RequestError(
            f'--function "{function}" is no case of {session_name}; {nearest(function, names)}'
        )
    config = kconfig.load(kconfig_name, root / kconfig.FOLDER)
    kconfig.require_some({session_name: script.needs}, [config], root / kconfig.FOLDER)
    repository = Repository(Path(place), f"tree {tree}")
    return Request(
        root,
        repository,
        *_ends(repository, good, bad),
        script,
        function or script.case_names[0],
        config,
        confidence,
    )


def _ends(repository: Repository, good: str, bad: str) -> tuple[str, str]:
    """Return the names of both commits; the bad one came of the good one."""
    first, last = repository.commit(good), repository.commit(bad)
    if first == last:
        raise RequestError(f"--good {good} and --bad {bad} are the same commit; name two")
    if repository.is_ancestor(last, first):
        raise RequestError(
            f"--good {good} came after --bad {bad}; swap them (what mended a fault is not found)"
        )
    if not repository.is_ancestor(first, last):
        raise RequestError(f"--bad {bad} did not come of --good {good}; name a revision before it")
    if not repository.has(last, trees.LINUX):
        raise RequestError(f"{repository.named}: {bad} is no Linux source with arch/arm64")
    return first, last


def times(failing: Rate, verdicts: int, confidence: float) -> int:
    """Return how often a kernel has to pass to be called good.

    ``failing.passes`` counts the runs in which the fault showed itself. With the lower
    bound of that rate, a kernel that has the fault passes so often by chance, in any of
    so many ``verdicts``, with a probability of at most 1 - ``confidence``.
    """
    low, _ = failing.interval(confidence)
    return max(1, math.ceil(math.log((1 - confidence) / verdicts) / math.log(1 - low)))


@dataclass(frozen=True)
class Verdict:
    """What one revision came to; ``runs`` are the words of its runs, such as stuck or pass."""

    commit: str
    subject: str
    status: int
    runs: tuple[str, ...]
    message: str = ""

    def __str__(self) -> str:
        word = {GOOD: "good", BAD: "bad"}.get(self.status, "skipped")
        passed = self.runs.count("pass")
        came = f"passes {passed} of {len(self.runs)}" if self.runs else self.message
        if self.status == BAD:
            came = f"{self.runs[-1]} in run {len(self.runs)}"
        return f"{word:8} {self.commit[:12]} {self.subject[:60]}: {came}"


@dataclass(frozen=True)
class Place:
    """Where revisions are checked out and built: a repository without commits of its own."""

    folder: Path

    @property
    def source(self) -> Path:
        """The work tree."""
        return self.folder / "source"

    @property
    def environment(self) -> dict[str, str]:
        """What makes git work here, and with nobody's configuration."""
        return {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "GIT_DIR": str(self.folder / "repository"),
            "GIT_WORK_TREE": str(self.source),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }

    def git(self, *arguments: str) -> str:
        """Run git to its end; raises MachineryError with its words."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.source,
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            words = tuple((done.stderr + done.stdout).strip().splitlines()[-5:])
            raise MachineryError(f"git {arguments[0]} failed in {self.folder}", details=words)
        return done.stdout

    def borrow(self, repository: Repository) -> None:
        """Read the objects of the user's repository from here on."""
        self.source.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet")
        own = self.folder / "repository"
        (own / "objects/info/alternates").write_text(f"{repository.path('objects')}\n")
        (own / "BISECT_START").unlink(missing_ok=True)  # of one that was cut off
        (own / "index.lock").unlink(missing_ok=True)
        shallow = repository.path("shallow")
        if shallow.exists():  # where a shallow history ends
            (own / "shallow").write_bytes(shallow.read_bytes())

    def check_out(self, commit: str) -> None:
        """Bring the work tree to a commit; files that are the same are not touched."""
        self.git("checkout", "--quiet", "--force", "--detach", commit)


@dataclass(frozen=True)
class Probe:
    """Finds out of one revision after the other whether the session passes."""

    asked: Request
    folder: Path
    toolchain: Toolchain
    versions: Versions
    guest: Path
    cache: Cache
    progress: Progress

    @classmethod
    def make(
        cls, asked: Request, folder: Path, kind: str, cache: Cache, progress: Progress
    ) -> Probe:
        """Get what every revision needs: the toolchain and the guest's programs."""
        tools = toolchain.choose(kind, asked.root / "docker", progress)
        versions = tools.versions()
        guest = initramfs.make(
            asked.root / "tests/guest", tools, versions.compiler, cache, progress
        )
        return cls(asked, folder, tools, versions, guest.path, cache, progress)

    @cached_property
    def place(self) -> Place:
        """One for each repository, configuration and compiler."""
        where = str(self.asked.repository.path("objects").resolve())
        config = self.asked.kconfig.on("6.1").digest
        parts = (where, config, self.toolchain.kind, self.versions.compiler)
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
        return Place(self.cache.folder("bisect", key))

    def verdict(self, commit: str, most: int) -> Verdict:
        """Judge the commit that is checked out: bad by one failure, good by ``most`` passes."""
        subject = self.place.git("show", "--no-patch", "--format=%s", commit).strip()
        try:
            kernel = self._kernel(commit)
        except BuildError as error:
            why = "; ".join((str(error), *error.details[:1]))
            return Verdict(commit, subject, SKIP, (), why)
        if option := kconfig.lacking(self.asked.session.needs, kconfig.parse(kernel.config)):
            return Verdict(commit, subject, SKIP, (), f"it is built without {option}")
        runs: list[str] = []
        while len(runs) < most:
            result = self.run(kernel, commit, len(runs) + 1)
            if result.outcome is Outcome.ERROR:
                return Verdict(commit, subject, SKIP, (), f"no verdict: {_first(result.message)}")
            runs.append(result.signature or result.outcome)
            if result.outcome is Outcome.FAIL:
                return Verdict(commit, subject, BAD, tuple(runs), result.message)
        return Verdict(commit, subject, GOOD, tuple(runs))

    def failing(self, commit: str) -> tuple[Rate, Verdict]:
        """Find out how often the bad commit, which is checked out, shows the fault."""
        runs: list[str] = []
        verdict = self.verdict(commit, MOST)
        if verdict.status != BAD:
            return Rate(0, len(verdict.runs)), verdict
        kernel = self._kernel(commit)
        runs = list(verdict.runs)
        while sum(word != Outcome.PASS for word in runs) < FAILURES and len(runs) < MOST:
            result = self.run(kernel, commit, len(runs) + 1)
            if result.outcome is Outcome.ERROR:
                break
            runs.append(result.signature or result.outcome)
        failed = sum(word != Outcome.PASS for word in runs)
        return Rate(failed, len(runs)), verdict

    def run(self, kernel: Kernel, commit: str, number: int) -> Result:
        """Run the session once, on a machine of its own; one without a verdict, again."""
        cell = Cell(
            f"git:{commit[:12]}",
            self.asked.kconfig.name,
            "none",
            self.asked.session.name,
            self.asked.case,
            number,
        )
        boot = runner.Boot(
            (cell,), kernel, self.guest, self.asked.root / "tests/sessions", self.folder
        )
        for _ in range(TRIES):
            (result,) = runner.run(boot, self.toolchain)
            if result.outcome is not Outcome.ERROR or result.signature is Signature.NO_BOOT:
                break
        return result

    def _kernel(self, commit: str) -> Kernel:
        """Build what is checked out, or take the kernel at hand."""
        source = self.place.source
        content = self.place.git("rev-parse", f"{commit}^{{tree}}").strip()
        version = trees.makefile_version(source)
        builder = Builder(
            tree=Tree(f"git:{commit[:12]}", version, f"git tree {content}", source),
            kconfig=self.asked.kconfig.on(version),
            toolchain=self.toolchain,
            compiler=self.versions.compiler,
            cache=self.cache,
            progress=self.progress,
            place=self.place.folder,
        )
        return builder.build(UNCHANGED, f"kernel {commit[:12]}")


@dataclass(frozen=True)
class Found:
    """How a bisection ended: ``first_bad``, or the commits that cannot be told apart."""

    first_bad: Verdict | None
    suspects: tuple[str, ...]
    steps: tuple[Verdict, ...]
    failing: Rate
    times: int
    confidence: float

    def text(self) -> list[str]:
        """Say what was found, and how sure that is."""
        low, _ = self.failing.interval(self.confidence)
        sure = (
            f"the fault showed itself in {self.failing.passes} of {self.failing.total} runs with"
            f" --bad, so in at least {100 * low:.0f} % of them; each kernel called good passed"
            f" {self.times} times: {100 * self.confidence:.0f} % sure of all of them together"
        )
        if self.first_bad is None:
            listed = [f"  {each}" for each in self.suspects]
            return ["the first bad commit is one of these, the others cannot be run:", *listed]
        return [
            f"first bad commit: {self.first_bad.commit} {self.first_bad.subject}",
            f"  {_first(self.first_bad.message)}" if self.first_bad.message else "",
            sure,
        ]


def bisect(
    asked: Request,
    folder: Path,
    toolchain_kind: str,
    cache: Cache,
    progress: Progress,
) -> Found:
    """Find the first commit with which the session fails; ``folder`` is new, for the runs' files.

    Raises RequestError where the ends are not as was said, MachineryError where git or
    the machine fails.
    """
    if asked.repository.is_dirty():
        progress.say(f"{asked.repository.named}: changes that are in no commit play no part")
    probe = Probe.make(asked, folder, toolchain_kind, cache, progress)
    folder.mkdir(parents=True)
    with cache.lock(f"bisect-{probe.place.folder.name}"):
        probe.place.borrow(asked.repository)
        number = asked.repository.count(asked.good, asked.bad)
        verdicts = max(1, math.ceil(math.log2(number)) + 1)
        progress.say(f"{number} commits, about {verdicts - 1} steps, by {asked.what}")
        with progress.task("checking out"):
            probe.place.check_out(asked.bad)
        failing, bad = probe.failing(asked.bad)
        progress.say(str(bad))
        _require(bad, BAD, "--bad")
        often = times(failing, verdicts, asked.confidence)
        progress.say(f"it fails in {failing.passes} of {failing.total} runs: {often} to pass")
        probe.place.check_out(asked.good)
        good = probe.verdict(asked.good, often)
        progress.say(str(good))
        _require(good, GOOD, "--good")
        said = _git_bisect_run(probe, toolchain_kind, often)
        log = probe.place.git("bisect", "log")
    (folder / "bisect.log").write_text(log)
    steps = (bad, good, *_steps(folder))
    first = FIRST_BAD.search(log)
    suspects = tuple(" ".join(each) for each in SUSPECT.findall(log))
    if not first and not suspects:
        raise MachineryError("git bisect run came to no end", details=tuple(said[-5:]))
    named = {each.commit: each for each in steps}
    found = Found(
        named[first[1]] if first else None, suspects, steps, failing, often, asked.confidence
    )
    (folder / "bisect.json").write_text(json.dumps(asdict(found), indent=1) + "\n")
    return found


def _require(verdict: Verdict, status: int, option: str) -> None:
    """Raise RequestError where an end of the history is not as was said."""
    if verdict.status == status:
        return
    if verdict.status == SKIP:
        raise RequestError(
            f"{option} {verdict.commit[:12]} cannot be run: {verdict.message}; name a revision"
            " that can"
        )
    mend = "name an older revision" if status == GOOD else "name a revision with the fault"
    came = str(verdict).partition(": ")[2]
    raise RequestError(f"{option} {verdict.commit[:12]} {came}: {mend}")


def _git_bisect_run(probe: Probe, kind: str, often: int) -> list[str]:
    """Let git choose the revisions; each is judged by a process of its own. Return its words."""
    asked, place = probe.asked, probe.place
    state = {
        "root": str(asked.root),
        "tree": f"git:{asked.repository.folder.absolute()}",
        "good": asked.good,
        "bad": asked.bad,
        "session_name": asked.session.name,
        "function": asked.case or "",
        "kconfig_name": asked.kconfig.text,
        "confidence": asked.confidence,
        "toolchain": kind,
        "folder": str(probe.folder.absolute()),
        "times": often,
    }
    path = probe.folder.absolute() / "state.json"
    path.write_text(json.dumps(state))
    place.git("bisect", "start", asked.bad, asked.good)
    # -P: what is checked out is under test, and nothing to import from.
    command = [sys.executable, "-P", "-m", "kstep.bisect.search", str(path)]
    said = []
    process = subprocess.Popen(
        ["git", "bisect", "run", *command],
        cwd=place.source,
        env={**place.environment, "PYTHONPATH": str(asked.root)},
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
            for _ in process.stdout or ():  # ends when the last of them has
                pass
            raise
    return said


def _steps(folder: Path) -> Iterator[Verdict]:
    path = folder / "steps.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        item = json.loads(line)
        yield Verdict(**{**item, "runs": tuple(item["runs"])})


def _first(text: str) -> str:
    return text.partition("\n")[0]


def step(path: Path) -> int:
    """Judge the commit that git bisect has checked out; return what to tell git.

    Nothing but a verdict on the kernel may look like one: everything else ends the search.
    """
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]  # git's, for the place; the user's repository is another
    state = json.loads(path.read_text())
    often, kind, folder = state.pop("times"), state.pop("toolchain"), Path(state.pop("folder"))
    try:
        with Progress() as progress:
            asked = request(Path(state.pop("root")), **state)
            probe = Probe.make(asked, folder, kind, Cache.default(), progress)
            commit = probe.place.git("rev-parse", "HEAD").strip()
            verdict = probe.verdict(commit, often)
            progress.say(str(verdict))
    except KeyboardInterrupt:
        return ABORT + signal.SIGINT
    except (RequestError, MachineryError, OSError) as error:
        said = (f"kstep: {error}", *getattr(error, "details", ()))
        print(*said, sep="\n  ", file=sys.stderr)  # noqa: T201 -- for who waits
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
