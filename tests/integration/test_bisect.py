# SPDX-License-Identifier: GPL-2.0-only
"""A fault that one commit of many introduced, found by booting kernels.

By night the kernels of a history are built. By day its commits contain kernels that were built
before, and building a commit copies its kernel.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.base.cache import Cache
from kstep.base.progress import Progress
from kstep.run import preparation, request
from tests.integration.command import ROOT, Verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = pytest.mark.kernel

FIX = ROOT / "patches/v6/0001-arm64-entry-put-a-step-aside-while-an-interrupt-is-handled.patch"
FAULT = ROOT / "tests/mutants/breakpoint-not-put-back.patch"
# Not needed to build this configuration, apart from the files that Kconfig and make read.
UNUSED = (
    "Documentation",
    "samples",
    "sound",
    "tools/testing",
    "tools/perf",
    "drivers/gpu",
    "drivers/media",
    "drivers/net",
    "drivers/staging",
    "drivers/scsi",
    "drivers/usb",
    "drivers/infiniband",
)
READ_BY_ALL = ("Kconfig", "Makefile", "Kbuild")
# Irrelevant commits each add a line here, so that one object is recompiled.
HARMLESS = ("init/version.c", "lib/ctype.c", "lib/cmdline.c", "lib/hexdump.c", "lib/sort.c")
# The newest that passes kdb-spinning[by_priority] as shipped, and one that does not
RELEASES = ("debian:6.1", "debian:7.2")


@dataclass(frozen=True)
class History:
    """A repository whose commits are, by name: good, does not build, mended, fault, bad."""

    folder: Path

    def git(self, *arguments: str) -> str:
        """Run git with a fixed author and a fixed time."""
        clean = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_DATE": "2023-01-01T00:00:00Z",
            "GIT_COMMITTER_DATE": "2023-01-01T00:00:00Z",
        }
        plain = ("user.name=S", "user.email=s@example.org", "gc.auto=0", "core.compression=0")
        options = [word for each in plain for word in ("-c", each)]
        return subprocess.run(
            ["git", *options, *arguments],
            cwd=self.folder,
            env=clean,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.strip()

    def commit(self, message: str, name: str = "", text: str = "") -> str:
        """Commit, with ``text`` added to a file; tag the commit if the message is one word."""
        if name:
            with (self.folder / name).open("a") as file:
                file.write(text)
        self.git("commit", "--quiet", "--all", f"--message={message}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Iterator[History]:
    """Import Linux with patch 1, then change it twelve times."""
    made = History(tmp_path_factory.mktemp("history"))
    unused = tuple(source / name for name in UNUSED)
    others = tuple(each for each in (source / "arch").iterdir() if each.name != "arm64")

    def leave_out(folder: str, names: list[str]) -> list[str]:
        if not any(Path(folder).is_relative_to(each) for each in (*unused, *others)):
            return []
        return [
            name
            for name in names
            if not name.startswith(READ_BY_ALL) and not Path(folder, name).is_dir()
        ]

    shutil.copytree(source, made.folder, symlinks=True, ignore=leave_out, dirs_exist_ok=True)
    made.git("init", "--quiet")
    made.git("add", "--all", "--force")  # Debian's .gitignore has everything
    made.git("commit", "--quiet", "--message=import")
    made.git("apply", str(FIX))
    made.commit("patch 1")
    made.git("tag", "good")
    broken = HARMLESS[0]
    for number in range(1, 13):
        if number == 6:
            made.commit("does not build", broken, "#error kstep\n")
        elif number == 7:
            made.git("revert", "--no-edit", "HEAD")
        elif number == 9:
            made.git("apply", str(FAULT))
            made.commit("the fault")
            made.git("tag", "fault")
        else:
            file = HARMLESS[number % len(HARMLESS)]
            made.commit(f"harmless {number}", file, f"/* {number} */\n")
    made.git("tag", "bad")
    (made.folder / broken).write_text("not in any commit\n")
    yield made
    for place in Cache.default().folder("bisect").iterdir():
        alternates = place / "repository/objects/info/alternates"
        if alternates.exists() and alternates.read_text().startswith(str(made.folder)):
            shutil.rmtree(place)


# A source that contains its built kernel; these files configure and build it, as in Linux.
MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 1
SUBLEVEL = 0
HERE := $(dir $(lastword $(MAKEFILE_LIST)))
Image:
\t@sh $(HERE)check
\tmkdir -p $(O)/arch/arm64/boot
\tcp $(HERE)kernel/Image $(O)/arch/arm64/boot/
\tcp $(HERE)kernel/vmlinux $(HERE)kernel/System.map $(O)/
allnoconfig:
\tcp $(KCONFIG_ALLCONFIG) $(O)/.config
"""


@dataclass(frozen=True)
class AtHand:
    """A history of kernels that were built before; they are in a cache of the test's own."""

    history: History
    kernels: dict[tuple[str, str], Path]

    def put(self, tree: str, variant: str) -> None:
        """Make a kernel the content of the next commit."""
        for name in ("Image", "vmlinux", "System.map"):
            shutil.copyfile(
                self.kernels[tree, variant] / name, self.history.folder / "kernel" / name
            )


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AtHand]:
    """Return what builds kernels, or finds them in the cache, and begins a history."""

    def begin(trees: Sequence[str], variants: Sequence[str]) -> AtHand:
        asked = request.look_up(
            ROOT, series_specs=["v6"], tree_specs=list(trees), variant_names=list(variants)
        )
        with Progress() as progress:
            prepared = preparation.prepare(asked, "auto", Cache.default(), progress)
        cache = tmp_path / "cache"
        cache.mkdir()
        for name in ("downloads", "guests"):
            (cache / name).symlink_to(Cache.default().folder(name))
        monkeypatch.setenv("KSTEP_CACHE", str(cache))
        made = History(tmp_path / "history")
        for name, text in {
            "Makefile": MAKEFILE,
            "Kconfig": "",
            "arch/arm64/Makefile": "",
            "arch/arm64/Kconfig": "",
            "kernel/harmless": "",
            "check": "",
        }.items():
            path = made.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        made.git("init", "--quiet")
        return AtHand(
            made,
            {
                (built.tree.id, name): built.require().folder
                for built in prepared.built
                for name in built.names
            },
        )

    return begin


@pytest.fixture
def patched(at_hand: Callable[..., AtHand]) -> History:
    """Commit v6/1+2, one that does not build, and none: good, mended, fault and bad."""
    begun = at_hand(["debian:6.1"], ["v6/1+2", "none"])
    made = begun.history
    begun.put("debian:6.1", "v6/1+2")
    made.git("add", "--all")
    made.commit("good")
    made.git("tag", "good")
    made.commit("harmless", "kernel/harmless", "1\n")
    made.commit("does not build", "check", "echo x.c:1: error: kstep; exit 1\n")
    made.git("revert", "--no-edit", "HEAD")
    begun.put("debian:6.1", "none")
    made.commit("the fault")
    made.git("tag", "fault")
    made.commit("harmless too", "kernel/harmless", "2\n")
    made.git("tag", "bad")
    return made


@pytest.fixture
def releases(at_hand: Callable[..., AtHand]) -> History:
    """Commit Debian's kernels as they are shipped, with patch 2, from the oldest to the newest."""
    begun = at_hand(RELEASES, ["v6/2"])
    made = begun.history
    for number, tree in enumerate(RELEASES):
        begun.put(tree, "v6/2")
        made.git("add", "--all")
        made.commit(tree)
        made.git("tag", tree.replace(":", "-"))
        made.commit("harmless", "kernel/harmless", f"{number}\n")
    return made


def options(history: History) -> list[str]:
    """Ask which commit introduced the fault."""
    return [
        f"--tree=git:{history.folder}",
        "--good=good",
        "--bad=bad",
        "--session=continue-past-breakpoint",
        "--function=get_avenrun",
        "--confidence=0.5",
    ]


def test_kernels_that_are_at_hand(patched: History, tmp_path: Path) -> None:
    """With a config fragment of the user, which each step must find again."""
    mine = tmp_path / "mine.config"
    mine.write_text("CONFIG_PRINTK_TIME=y\n")
    with Verify(tmp_path, *options(patched), f"--kconfig={mine}", command="bisect") as going:
        run = going.wait()
    assert run.status == 0, run.said
    assert f"first bad commit: {patched.git('rev-parse', 'fault')} the fault" in run.said
    assert patched.git("status", "--porcelain") == ""


def test_ctrl_c_in_the_midst_leaves_nothing(patched: History, tmp_path: Path) -> None:
    """No process, no container, no bisection in the user's repository; and it ends at once."""
    with Verify(tmp_path, *options(patched), command="bisect") as going:
        going.until(lambda: " good: passes " in going.said, "verdict on the good end")
        going.until(lambda: going.runs("qemu"), "QEMU in a step of git bisect run")
        going.end_by(signal.SIGINT, group=True)
        run = going.wait()
        assert run.status == 130, run.said
        assert going.left_behind() == []
    steps = tmp_path / "run/steps.jsonl"
    assert not steps.exists() or len(steps.read_text().splitlines()) <= 1, "it went on"
    assert patched.git("status", "--porcelain") == ""
    assert not list((patched.folder / ".git").glob("BISECT*"))


@pytest.mark.nightly  # kernels of other trees
def test_a_range_of_releases(releases: History, tmp_path: Path) -> None:
    """6.7 was the first to stop a CPU that spins (kdb-spinning), so that kdb steps beside it."""
    with Verify(
        tmp_path,
        f"--tree=git:{releases.folder}",
        f"--good={RELEASES[0].replace(':', '-')}",
        "--bad=HEAD",
        "--session=kdb-spinning",
        "--function=by_priority",
        "--confidence=0.8",
        command="bisect",
    ) as going:
        run = going.wait()
    assert run.status == 0, run.said
    assert f"first bad commit: {releases.git('rev-parse', 'debian-7.2')} debian:7.2" in run.said


@pytest.mark.nightly  # its history needs a full build
def test_the_commit_is_found(history: History, tmp_path: Path) -> None:
    """In four or five steps, skipping one that does not build; the checkout is unchanged."""
    before = history.git("rev-parse", "HEAD"), history.git("status", "--porcelain")
    done = subprocess.run(
        [
            ROOT / "inv",
            "bisect",
            f"--tree=git:{history.folder}",
            "--good=good",
            "--bad=bad",
            "--session=continue-past-breakpoint",
            "--function=get_avenrun",
            "--confidence=0.8",
            f"--out={tmp_path}/run",
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"first bad commit: {history.git('rev-parse', 'fault')} the fault" in done.stdout
    assert "80 % confidence that no bad kernel was called good" in done.stdout
    assert "uncommitted changes are ignored" in said
    assert (history.git("rev-parse", "HEAD"), history.git("status", "--porcelain")) == before
    found = json.loads((tmp_path / "run/bisect.json").read_text())
    assert {each["subject"]: each["status"] for each in found["steps"]}["the fault"] == 1
    assert found["failing"] == {"passes": 8, "total": 8}
    assert len(found["steps"]) <= 8
    for each in found["steps"]:
        consoles = list((tmp_path / "run/cells").glob(f"git={each['commit'][:12]}/**/console.log"))
        assert bool(consoles) == bool(each["runs"])
