# SPDX-License-Identifier: GPL-2.0-only
"""What is asked for on the command line, and every way to ask for what is not there."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kstep.__main__ import Commands
from tests.unit.results.material import ASKED, a_cell, a_record

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
PATCH = ROOT / "patches/v6/0001-arm64-entry-put-a-step-aside-while-an-interrupt-is-handled.patch"
EXPECT = """\
rules:
  - variants: [none]
    sessions: [step-in-ordr]
    outcome: pass
    why: because
"""
SERIES = f"""\
name: mine
subject: "x"
patches:
  - file: {PATCH.name}
    subject: "x"
    merge: "x"
"""


def mails(*subjects: str) -> str:
    """Make an mbox, with a diff in every mail."""
    return "".join(
        f"From git@z Thu Jan  1 00:00:00 1970\nFrom: s@example.org\nSubject: {subject}\n"
        f"Date: Mon, 2 Jan 2023 10:00:00 +0000\nMessage-ID: <{number}@example.org>\n\n"
        "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n\n"
        for number, subject in enumerate(subjects)
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder with broken things; nothing can be fetched, nor an engine be asked.

    A request that should have been refused and is not ends with status 3 at once.
    """
    files = {
        "garbage.patch": "no patch at all\n",
        "broken.patch": PATCH.read_text().replace("@@ -", "@@ x", 1),
        "expecting/series.patch": PATCH.read_text(),
        "expecting/expect.yaml": EXPECT,
        "listed/series.yaml": SERIES,
        f"listed/{PATCH.name}": PATCH.read_text(),
        "mine.config": "CONFIG_A=y\nCONFIG_B\n",
        "a-file": "",
        "replies.mbox": mails("Re: [PATCH 1/3] x", "[PATCH 0/3] x"),
        "gap.mbox": mails("[PATCH 1/3] x", "[PATCH 3/3] x"),
        "same/v6.patch": PATCH.read_text(),
        "run/results.json": "{",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for name, more in (
        ("old", {}),
        ("cut", {"inputs": {"guest": "1"}}),
        ("moved", {"inputs": {"guest": "1"}, "request": replace(ASKED, folder="gone/away")}),
    ):
        (tmp_path / name).mkdir()
        record = a_record(tmp_path / name)
        for field, value in more.items():
            setattr(record, field, value)
        record.write()
    monkeypatch.setenv("KSTEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")
    umask = os.umask(0o022)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield tmp_path
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


V = "verify --toolchain docker"

BAD = [
    # series
    (
        f"{V} --series v8",
        (
            'series "v8" is not a folder under patches/, nor a file;'
            " there are: atomic1, masked, outofline, v5, v6, v7"
        ),
    ),
    (f"{V} --series v6,v6", "--series: v6 is named twice; name it once"),
    (f"{V} --series=", "--series: empty"),
    (f"{V} --series {{}}/nothing.mbox", "is not a folder under patches/, nor a file"),
    (f"{V} --series {{}}/garbage.patch", "{}/garbage.patch: contains no patch; give a diff"),
    (f"{V} --series {{}}/broken.patch", "{}/broken.patch"),
    (f"{V} --series {{}}/a-file", "{}/a-file: is empty; save the thread or the patch again"),
    (f"{V} --series {{}}/replies.mbox", "{}/replies.mbox: contains no patches (replies and"),
    (f"{V} --series {{}}/gap.mbox", "{}/gap.mbox: patch 2 of 3 is missing; get the whole thread"),
    (f"{V} --series git:{{}}#a..b", "series git:{}#a..b: git cannot read it: not a git repository"),
    (f"{V} --series git:{{}}#a", "series git:{}#a: must be git:DIR#A..B"),
    (
        f"{V} --series {{}}/same/v6.patch,v6",
        "--series: two are called v6; rename one (./inv series.add --name)",
    ),
    ("bisect", "--tree is missing; see ./inv --help bisect"),
    ("bisect --tree git:{} --good a --bad b --session kgdbts", "tree git:{}: git cannot read it"),
    (
        "bisect --tree git:{} --good a --bad b --session kgdbts --out {}",
        "--out {}: already exists; name a new folder",
    ),
    ("series.add {}/nothing", 'series "{}/nothing" is not a folder under patches/, nor a file'),
    ("series.add {}/same/v6.patch", "patches/v6 already exists; give another --name"),
    ("series.add {}/same/v6.patch --name a/b", "--name a/b: must be letters, digits, dot, dash"),
    (f"{V} --series {{}}/run", "{}/run: contains no *.patch; put the series there"),
    (
        f"{V} --series {{}}/listed",
        '{}/listed/series.yaml:6: unknown key "merge"; did you mean "merged"?',
    ),
    (f"{V} --series {{}}/expecting", '{}/expecting/expect.yaml:3: session "step-in-ordr" does not'),
    # trees
    (f"{V} --tree debian:sid", "tree debian:sid: name a version, such as debian:5.10"),
    (f"{V} --tree linux", "tree linux: must be debian:6.1, path:DIR, git:DIR#REV or tar:FILE"),
    (f"{V} --tree path:{{}}", "tree path:{}: is not a Linux source with arch/arm64"),
    (f"{V} --tree tar:{{}}/none.tar", "tree tar:{}/none.tar: no such file"),
    (f"{V} --tree git:{{}}#v1", "tree git:{}#v1: git cannot read it: not a git repository"),
    (f"{V} --tree debian:6.1,debian:6.1", "--tree: debian:6.1 is named twice; name it once"),
    (f"{V} --tree ,", "--tree: empty"),
    # configurations
    (f"{V} --kconfig nothing", "kconfig nothing: must be one of base"),
    (f"{V} --kconfig base,base", "--kconfig: base is named twice; name it once"),
    (f"{V} --kconfig=", "--kconfig: empty"),
    (f"{V} --kconfig {{}}/mine.config", "{}/mine.config:2: 'CONFIG_B' is not an option"),
    # variants
    (
        f"{V} --variants v7/1",
        'variant "v7/1" does not belong to a series of this run; did you mean "v',
    ),
    (f"{V} --variants v6/3", 'variant "v6/3": no patch "3"; there are: 1, 2'),
    (f"{V} --variants v6/", 'variant "v6/": no patch ""; there are: 1, 2'),
    (f"{V} --variants v6", 'variant "v6" does not belong to a series of this run'),
    (f"{V} --variants none,none", "--variants: none is named twice; name it once"),
    (f"{V} --variants v6/1+2,v6/2+1", "--variants: v6/1+2 is named twice; name it once"),
    (f"{V} --matrix all", "--matrix all: must be one of each, prefixes, subsets"),
    (f"{V} --matrix each --variants none", "--matrix and --variants both select variants"),
    # sessions
    (f"{V} --sessions step-in-ordr", 'session "step-in-ordr" does not exist; did you mean "step-'),
    (f"{V} --sessions kgdbts-,nothing", 'session "kgdbts-" does not exist'),
    (f"{V} --sessions step-in-order,step-in-order", "--sessions: step-in-order is named twice"),
    (
        f"{V} --sessions kdb-lockdown",
        "CONFIG_SECURITY_LOCKDOWN_LSM, which kconfig base does not have; --kconfig lockdown has it",
    ),
    (
        f"{V} --sessions step-over-probe,kdb-restricted --kconfig lockdown",
        "step-over-probe: needs CONFIG_FAIL_FUNCTION, which kconfig lockdown does not have",
    ),
    # numbers and places
    (f"{V} --repeat 0", "--repeat 0: must be between 1 and 10000"),
    (f"{V} --repeat=-3", "--repeat -3: must be between 1 and 10000"),
    (f"{V} --repeat 99999999999", "--repeat 99999999999: must be between 1 and 10000"),
    (f"{V} --jobs=-1", "--jobs -1: must be 1 or more"),
    (f"{V} --out {{}}", "--out {}: already exists; name a new folder"),
    ("verify --resume {}/nowhere", "{}/nowhere: cannot be read (No such file"),
    ("verify --resume {}/run", "{}/run/results.json:1: not JSON"),
    ("verify --resume {}/old", "--resume {}/old: its request and inputs are unknown"),
    ("verify --resume {}/cut --repeat 3", "--repeat 3: the run that --resume names has --repeat 1"),
    ("verify --resume {}/cut --out {}/x", "--out {}/x: the run that --resume names has no --out"),
    ("verify --resume {}/cut --machine tcp:a:1", "--machine tcp:a:1: the run that --resume names"),
    ("verify --resume {}/moved", "--resume {}/moved: its command was given in gone/away: No such"),
    (f"{V} --out {{}}/a-file/x", "--out {}/a-file/x: cannot write into {}/a-file"),
    ("verify --toolchain podman", "--toolchain podman: must be auto, docker or host"),
    # the command line itself
    (f"{V} --repeat many", "--repeat many: must be a whole number"),
    ("bisect --confidence much", "--confidence much: must be a number"),
    ("step vfs_mkdir", "--trigger is missing: give one line, a command of the guest's shell"),
    ("merge --runs {}/run", "--out is missing; name a new folder"),
    ("guest --out {}", "--out {}: already exists; name a new folder"),
    ("guest --out /proc/x", "--out /proc/x: cannot write into /proc"),
    (f"{V} --repeat", "repeat"),
    (f"{V} --no-such-flag", "No idea what '--no-such-flag' is!"),
    (f"{V} again", "No idea what 'again' is!"),
    ("--no-such-flag", "No idea what '--no-such-flag' is!"),
    ("verifi", "No idea what 'verifi' is!"),
    ("report --run {}/nowhere", "{}/nowhere: cannot be read"),
    ("report --run {}/run", "{}/run/results.json:1: not JSON"),
]

# A process each is slow: one of each kind is enough to know that all goes the same way.
AS_A_USER = (
    f"{V} --series {{}}/gap.mbox",  # what kstep refuses
    f"{V} --repeat",  # what Invoke's parser does
    f"{V} again",
)


def arguments(command: str, place: Path) -> list[str]:
    """Cut a command into its words; the folder that it names may have blanks."""
    return [word.replace("{}", str(place)) for word in command.split(" ")]


def one_line(said: str, words: str, place: Path) -> None:
    """Look that it is one line, that it names what is wrong, and that nothing was fetched."""
    assert said.startswith("kstep: "), said
    assert words.replace("{}", str(place)) in said
    assert said.count("\n") == 1
    assert not (place / "cache").exists()


@pytest.mark.parametrize(("command", "words"), BAD, ids=[command for command, _ in BAD])
def test_a_wrong_request_is_told_in_one_line(
    command: str, words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["inv", "--search-root", str(ROOT), *arguments(command, place)]
    with pytest.raises(SystemExit) as end:
        Commands(name="kstep", binary="inv", version="test").run(argv)
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    one_line(err, words, place)


@pytest.mark.parametrize("command", AS_A_USER)
def test_a_user_is_told_the_same(command: str, place: Path, inv: Path) -> None:
    words = dict(BAD)[command]
    done = subprocess.run(
        [inv, *arguments(command, place)],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    one_line(done.stderr, words, place)


def test_without_an_engine_there_is_no_verdict(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command with nothing wrong in it goes on to the toolchain."""
    argv = ["inv", "--search-root", str(ROOT), *V.split(), "--out", str(place / "new")]
    with pytest.raises(SystemExit) as end:
        Commands(name="kstep", binary="inv", version="test").run(argv)
    assert end.value.code == 3
    assert "--toolchain docker: no Docker engine answers" in capsys.readouterr().err
    assert not (place / "new").exists()


@pytest.mark.parametrize("command", ["ci.matrix", "verify --plan", "report {}/read", "--list"])
def test_whoever_stops_reading_gets_no_verdict(command: str, place: Path, inv: Path) -> None:
    """As head does; 1 would be a verdict, and 3 a fault of the machine."""
    (place / "read").mkdir()
    a_record(place / "read", a_cell()).write()
    argv = [str(inv), *arguments(command, place)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as going:
        assert going.stdout is not None
        assert going.stderr is not None
        going.stdout.close()
        assert going.stderr.read() == b""
    assert going.returncode == 141


# -- a plan


def test_a_plan_lists_every_cell_and_does_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = "step-in-order,kdb-lockdown"  # the second is not for base
    command = f"verify --plan --variants none,v6/2+1 --sessions {sessions} --repeat 2"
    Commands(name="kstep", binary="inv", version="test").run(
        ["inv", "--search-root", str(ROOT), *command.split()], exit=False
    )
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "debian:6.1/base/none step-in-order[get_avenrun] 1"
    assert out[-1] == "debian:6.1/base/v6/1+2 step-in-order[devkmsg_write] 2"
    assert len(out) == len(set(out)) == 2 * 2 * 6
    assert not (place / "cache").exists()
