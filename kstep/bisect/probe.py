# SPDX-License-Identifier: GPL-2.0-only
"""One revision's verdict: its kernel built and booted, and the session run on it."""

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
from kstep.toolchain import GCC
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.base.cache import Cache
    from kstep.base.progress import Progress
    from kstep.bisect.request import BisectRequest
    from kstep.build.kernel import Kernel
    from kstep.run.boot import Result
    from kstep.toolchain import Toolchain, Versions

# What git bisect run takes a status of its command for.
GOOD, BAD, SKIP, ABORT = 0, 1, 125, 128
FAILURES = 8  # of the bad revision, from which it is known how often the fault shows itself
MOST = 40  # runs in which the bad revision has to fail so often, or fails rarely
TRIES = 3  # of a run that came to no verdict


@dataclass(frozen=True)
class Verdict:
    """The verdict on one revision; ``runs`` are the words of its runs, such as stuck or pass."""

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
        """How the runs ended, or why there were none."""
        if self.status == BAD:
            return f"{self.runs[-1]} in run {len(self.runs)}"
        passed = self.runs.count("pass")
        return f"passes {passed} of {len(self.runs)}" if self.runs else self.message


@dataclass(frozen=True)
class Probe:
    """Finds out of one revision after the other whether the session passes."""

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
        """Get what every revision needs: the toolchain and the guest's programs."""
        tools = toolchain.choose(kind, asked.root / "docker", progress)
        versions = tools.versions(GCC)
        guest = initramfs.make(
            asked.root / "tests/guest", tools, versions.compiler, cache, progress
        )
        return cls(asked, folder, tools, versions, guest.path, cache, progress)

    @cached_property
    def work_tree(self) -> WorkTree:
        """One for each repository, configuration and compiler."""
        objects = str(self.asked.repository.path("objects").resolve())
        config = self.asked.kconfig.on("6.1").digest
        parts = (objects, config, self.toolchain.kind, self.versions.compiler)
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
        return WorkTree(self.cache.folder("bisect", key))

    def verdict(self, commit: str, most: int) -> Verdict:
        """Judge the commit that is checked out: bad by one failure, good by ``most`` passes."""
        subject = self.work_tree.subject(commit)
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
                why = f"no verdict: {first_line(result.message)}"
                return Verdict(commit, subject, SKIP, (), why)
            runs.append(result.signature or result.outcome)
            if result.outcome is Outcome.FAIL:
                return Verdict(commit, subject, BAD, tuple(runs), result.message)
        return Verdict(commit, subject, GOOD, tuple(runs))

    def failing(self, commit: str) -> tuple[Rate, Verdict]:
        """Find out how often the bad commit, which is checked out, shows the fault."""
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
        sessions = self.asked.root / "tests/sessions"
        own = self.asked.session.own_file
        boot = Boot((cell,), kernel, self.guest, sessions, Accel.TCG, own=own)
        for _ in range(TRIES):
            (result,) = runner.run(boot, self.toolchain, self.folder)
            if result.outcome is not Outcome.ERROR or result.signature is Signature.NO_BOOT:
                break
        return result

    def _kernel(self, commit: str) -> Kernel:
        """Build what is checked out, or take the kernel at hand."""
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
    """Return what stands before the first end of a line."""
    return text.partition("\n")[0]
