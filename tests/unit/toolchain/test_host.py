# SPDX-License-Identifier: GPL-2.0-only
"""The toolchain of this machine, with real programs: what they see, and that none is left."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.base.progress import Progress
from kstep.toolchain import CLANG, CommandError, HostToolchain, apt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# What kernel developers have in their environment; each makes another kernel.
OF_KERNEL_DEVELOPERS = {
    "ARCH": "x86",
    "CC": "clang",
    "CROSS_COMPILE": "riscv64-linux-gnu-",
    "GIT_DIR": "/elsewhere/.git",
    "KBUILD_OUTPUT": "/elsewhere",
    "KCFLAGS": "-O0",
    "LLVM": "1",
    "LOCALVERSION": "-mine",
    "MAKEFLAGS": "-k",
    "TERM": "xterm",
}


@pytest.fixture
def tools() -> HostToolchain:
    """Return the toolchain."""
    return HostToolchain("a test")


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    ends = time.monotonic() + 20
    while not true():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether a process is there, and is not dead and waiting for its parent."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 -- a stream, read once
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_is_run_in_its_folder_and_heard_line_by_line(
    tools: HostToolchain, tmp_path: Path
) -> None:
    lines: list[str] = []
    tools.run(["sh", "-c", "pwd; echo to err >&2"], cwd=tmp_path, on_line=lines.append)
    assert lines == [str(tmp_path), "to err"]
    assert tools.text(["printf", "one\ntwo"]) == "one\ntwo"


def test_input_is_nobody_s(tools: HostToolchain) -> None:
    assert tools.text(["cat"]) == ""


def test_a_command_that_fails_says_its_last_lines(tools: HostToolchain, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="sh -c seq 1000") as caught:
        tools.run(["sh", "-c", "seq 1000; exit 7"], cwd=tmp_path)
    assert caught.value.exit_status == 7
    assert caught.value.details == tuple(str(n) for n in range(801, 1001))


def test_the_user_s_environment_makes_no_other_kernel(
    tools: HostToolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a command nor in what goes on; PATH, HOME and the proxies are kept."""
    for name, value in OF_KERNEL_DEVELOPERS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    lines: list[str] = []
    tools.run(["env"], cwd=tmp_path, env={"ARCH": "arm64"}, on_line=lines.append)
    process = tools.spawn(["env"])
    until(lambda: not process.alive())
    for said in (lines, process.output().splitlines()):
        seen = dict(line.split("=", 1) for line in said)
        assert (seen["PATH"], seen["HOME"]) == (os.environ["PATH"], "/home/somebody")
        assert seen["https_proxy"] == "http://proxy.example:3128"
        assert seen["LC_ALL"] == "C.UTF-8"
        assert {*seen} & {*OF_KERNEL_DEVELOPERS} <= {"ARCH"}
    assert "ARCH=arm64" in lines
    process.kill()


def test_ctrl_c_ends_the_command_and_its_children(tools: HostToolchain, tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupt(line: str) -> None:
        seen.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tools.run(["sh", "-c", "sleep 60 & echo $!; wait"], cwd=tmp_path, on_line=interrupt)
    until(lambda: not lives(seen[0]))


def test_what_goes_on_is_alive_until_it_is_killed(tools: HostToolchain, tmp_path: Path) -> None:
    noting = ["sh", "-c", 'echo $$ > "$0"; echo up; exec sleep 60', str(tmp_path / "pid")]
    process = tools.spawn(noting)
    until(lambda: process.output() == "up\n")
    assert process.alive()
    process.kill()
    assert not process.alive()
    assert not lives(int((tmp_path / "pid").read_text()))
    assert process.output() == ""
    process.kill()  # once more, and nothing happens


def test_of_what_was_said_the_end_is_kept(tools: HostToolchain) -> None:
    process = tools.spawn(["sh", "-c", "seq 5000; echo end"])
    until(lambda: not process.alive())
    assert len(process.output()) == 4096
    assert process.output().endswith("5000\nend\n")
    process.kill()


def test_a_pty_has_the_same_name_inside(tools: HostToolchain, tmp_path: Path) -> None:
    assert tools.inside(tmp_path / "pts") == tmp_path / "pts"
    assert tools.own(tmp_path) == tmp_path


def test_it_is_ready_when_the_packages_of_the_image_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def install(packages: Sequence[str], _progress: Progress) -> None:
        asked.extend(packages)

    sources = apt.Sources((("http://mirror.example/debian", "", ""),))
    monkeypatch.setattr(apt, "install", install)
    monkeypatch.setattr(apt, "own_sources", lambda: sources)
    monkeypatch.setattr(apt, "own_release", lambda: "trixie")
    (tmp_path / "packages.txt").write_text("gcc\nqemu-system-arm\n")
    made = HostToolchain.ready(tmp_path, "asked for", Progress())
    assert asked == ["gcc", "qemu-system-arm"]
    assert (made.kind, made.why, made.image_digest) == ("host", "asked for", None)
    assert made.debian == "trixie"


def test_a_machine_without_a_debian_archive_is_told_before_anything_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise MachineryError("this host runs Ubuntu 24.04, not Debian")

    monkeypatch.setattr(apt, "install", lambda *_: pytest.fail("it installs"))
    monkeypatch.setattr(apt, "own_sources", refuse)
    (tmp_path / "packages.txt").write_text("gcc\n")
    with pytest.raises(MachineryError) as error:
        HostToolchain.ready(tmp_path, "asked for", Progress())
    assert str(error.value) == (
        "--toolchain host: this host runs Ubuntu 24.04, not Debian; it needs Debian 12 or"
        " later, with an archive of that release in /etc/apt; or use --toolchain docker"
    )


def test_a_compiler_may_need_more_and_a_suite_must_be_the_host_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    sources = apt.Sources((("http://mirror.example/debian", "", ""),))
    monkeypatch.setattr(apt, "install", lambda packages, _progress: asked.extend(packages))
    monkeypatch.setattr(apt, "own_sources", lambda: sources)
    monkeypatch.setattr(apt, "own_release", lambda: "trixie")
    (tmp_path / "packages.txt").write_text("gcc\n")
    HostToolchain.ready(tmp_path, "requested", Progress(), "trixie", CLANG.packages)
    assert asked == ["gcc", "clang", "lld", "llvm"]
    asked.clear()
    with pytest.raises(RequestError, match="--suite sid: the host's tools are of Debian trixie"):
        HostToolchain.ready(tmp_path, "requested", Progress(), "sid")
    assert asked == []
