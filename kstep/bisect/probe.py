# SPDX-License-Identifier: GPL-2.0-only
"""The verdict on one revision: build and boot its kernel, and run the session on it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from kstep import toolchain
from kstep.base.outcome import Outcome, Signature
from kstep.bisect.worktree import WorkTree
from kstep.build import initramfs, kconfig
from kstep.build.kernel import UNPATCHED, Builder, BuildError
from kstep.results.cell import Cell
from kstep.results.rate import Rate
from kstep.run import runner
from kstep.run.boot import Boot
from kstep.source import tree as trees
from kstep.source.tree import Tree
from kstep.toolchain import GCC, reaper
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.bisect.request import BisectRequest
    from kstep.build.kernel import Kernel
    from kstep.run.boot import Result
    from kstep.toolchain import Toolchain, Versions

# The exit status of the command of git bisect run.
GOOD, BAD, SKIP, ABORT = 0, 1, 125, 128
FAILURES = 8  # of the bad revision, to measure how often the fault occurs
MOST = 40  # runs of the bad revision, at most, to get so many failures
TRIES = 3  # of a run without a verdict


@dataclass(frozen=True)
class Verdict:
    """The verdict on one revision; ``runs`` are the results of its runs, such as stuck or pass."""

    commit: str
    subject: str
    status: int
    runs: tuple[str, ...]
    message: str = ""

    def __str__(self) -> str:
        word = {GOOD: "good", BAD: "bad"}.get(self.status, "skipped")
        return f"{word:8} {self.commit[:12]} {self.subject[:60]}: {self.result}"

    @property
    def result(self) -> str:
        """The results of the runs, or why there were none."""
        if self.status == BAD:
            return f"{self.runs[-1]} in run {len(self.runs)}"
        passed = self.runs.count("pass")
        return f"passes {passed} of {len(self.runs)}" if self.runs else self.message


@dataclass(frozen=True)
class Probe:
    """Finds out whether the session passes, revision by revision."""

    asked: BisectRequest
    folder: Path
    toolchain: Toolchain
    versions: Versions
    guest: Path
    cache: Cache
    progress: Progress

    @classmethod
    def make(
        cls, asked: BisectRequest, folder: Path, kind: str, cache: Cache, progress: Progress
    ) -> Probe:
        """Prepare what every revision needs: the toolchain and the guest's programs."""
        tools = toolchain.choose(kind, asked.root / "docker", progress)
        reaper.start(tools, cache.scratch_folders)
        versions = tools.versions(GCC)
        guest = initramfs.make(
            asked.root / "tests/guest", tools, versions.compiler, cache, progress
        )
        return cls(asked, folder, tools, versions, guest.path, cache, progress)

    @cached_property
    def work_tree(self) -> WorkTree:
        """The work tree: one for each repository, configuration and compiler."""
        objects = str(self.asked.repository.path("objects").resolve())
        config = self.asked.kconfig.on("6.1").digest
        parts = (objects, config, self.toolchain.kind, self.versions.compiler)
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
        return WorkTree(self.cache.folder("bisect", key))

    def verdict(self, commit: str, most: int) -> Verdict:
        """Judge the checked-out commit: bad after one failure, good after ``most`` passes."""
        subject = self.work_tree.subject(commit)
        try:
            kernel = self._kernel(commit)
        except BuildError as error:
            why = "; ".join((str(error), *error.details[:1]))
            return Verdict(commit, subject, SKIP, (), why)
        if option := kconfig.lacking(self.asked.session.needs, kconfig.parse(kernel.config)):
            return Verdict(commit, subject, SKIP, (), f"built without {option}")
        runs: list[str] = []
        while len(runs) < most:
            result = self.run(kernel, commit, len(runs) + 1)
            if result.outcome is Outcome.ERROR:
                why = f"no verdict: {first_line(result.message)}"
                return Verdict(commit, subject, SKIP, (), why)
            runs.append(result.signature or result.outcome)
            if result.outcome is Outcome.FAIL:
                return Verdict(commit, subject, BAD, tuple(runs), result.message)
        return Verdict(commit, subject, GOOD, tuple(runs))

    def failing(self, commit: str) -> tuple[Rate, Verdict]:
        """Measure how often the bad commit, which is checked out, fails."""
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
        """Run the session once, on its own machine; repeat a run without a verdict."""
        cell = Cell(
            f"git:{commit[:12]}",
            self.asked.kconfig.name,
            "none",
            self.asked.session.name,
            self.asked.case,
            number,
        )
        sessions = self.asked.root / "tests/sessions"
        own = self.asked.session.own_file
        boot = Boot((cell,), kernel, self.guest, sessions, Accel.TCG, own=own)
        for _ in range(TRIES):
            (result,) = runner.run(boot, self.toolchain, self.folder)
            if result.outcome is not Outcome.ERROR or result.signature is Signature.NO_BOOT:
                break
        return result

    def _kernel(self, commit: str) -> Kernel:
        """Build what is checked out, or return the cached kernel."""
        source = self.work_tree.source
        content = self.work_tree.content(commit)
        version = trees.makefile_version(source)
        builder = Builder(
            tree=Tree(f"git:{commit[:12]}", version, f"git tree {content}", source),
            kconfig=self.asked.kconfig.on(version),
            toolchain=self.toolchain,
            compiler=GCC,
            compiler_version=self.versions.compiler,
            cache=self.cache,
            progress=self.progress,
            checkout=self.work_tree.folder,
        )
        return builder.build(UNPATCHED, f"kernel {commit[:12]}")


def first_line(text: str) -> str:
    """Return the first line of a text."""
    return text.partition("\n")[0]
