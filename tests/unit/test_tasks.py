# SPDX-License-Identifier: GPL-2.0-only
"""The commands: how each way to end is told to a shell, and to a reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

import tasks
from kstep.base.errors import MachineryError, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.results.request import Asked


@pytest.fixture(autouse=True)
def _own_process() -> Iterator[None]:
    """Restore in this process what a command sets."""
    umask = os.umask(0o022)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    os.umask(umask)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ended(outcome: int | BaseException | None) -> tuple[int, str]:
    """Run a command that ends so; give its status and message."""

    def command() -> int | None:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    try:
        tasks._exit_statuses(command)()
    except Exit as end:
        return end.code, end.message or ""
    return 0, ""


@pytest.mark.parametrize(
    ("outcome", "status", "message"),
    [
        (None, 0, ""),
        (0, 0, ""),
        (1, 1, ""),
        (3, 3, ""),
        (RequestError("wrong", "a.yaml", 3), 2, "kstep: a.yaml:3: wrong"),
        (MachineryError("it broke"), 3, "kstep: it broke"),
        (MachineryError("it broke", details=("a", "b")), 3, "kstep: it broke\n  a\n  b"),
        (KeyboardInterrupt(), 130, "kstep: interrupted"),
        (OSError(28, "No space left on device", "/x"), 3,
         "kstep: [Errno 28] No space left on device: '/x'"),
    ],
)  # fmt: skip
def test_every_end_has_its_status(
    outcome: int | BaseException | None, status: int, message: str
) -> None:
    assert ended(outcome) == (status, message)


def test_a_fault_of_ours_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1 would say that a kernel did other than predicted."""
    status, message = ended(ZeroDivisionError("division by zero"))
    assert status == 3
    assert message == "kstep: internal error: ZeroDivisionError: division by zero"
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_interruption(number: int) -> None:
    """Machines and containers end by the same way as with Ctrl-C."""
    signal.signal(number, signal.SIG_DFL)  # whoever runs the tests may have it ignored

    def command() -> None:
        os.kill(os.getpid(), number)

    with pytest.raises(Exit) as end:
        tasks._exit_statuses(command)()
    assert end.value.code == 130


def test_what_is_to_outlive_its_window_does() -> None:
    """As nohup has it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def command() -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    tasks._exit_statuses(command)()


def test_what_is_written_can_be_read_by_others(tmp_path: Path) -> None:
    """Whoever works in the container is somebody else."""
    os.umask(0o077)

    def command() -> None:
        (tmp_path / "file").touch()

    tasks._exit_statuses(command)()
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("text", "names"),
    [("", []), (",", []), ("a", ["a"]), ("a,b", ["a", "b"]), (" a , ,b,", ["a", "b"])],
)
def test_lists_are_separated_by_commas(text: str, names: list[str]) -> None:
    assert tasks._list(text) == names


def test_what_was_asked_for_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolved where it is short for something, and with the folder that its paths are of."""
    kept: list[Asked] = []

    def verification(*_asked: object, typed: Asked, **_more: object) -> None:
        kept.append(typed)
        raise RequestError("that is all")

    monkeypatch.setattr("kstep.run.verification.Verification", verification)
    (tmp_path / "mine.config").write_text("CONFIG_KALLSYMS_ALL=y\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exit, match="that is all"):
        tasks.verify(Context(), kconfig="base,mine.config", variants="none,v6/2+1", repeat=2)
    with pytest.raises(Exit, match="that is all"):
        tasks.verify(Context(), series="v6", sessions="kgdbts, ptrace-step")
    first, second = kept
    assert (tasks.ROOT / first.folder).resolve() == tmp_path.resolve()
    assert first.series == ("v5", "v6")
    assert first.trees == ("debian:6.1",)
    assert first.kconfigs == {"base": "base", "mine": "mine.config"}
    assert (first.matrix, first.variants, first.repeat) == ("each", ("none", "v6/1+2"), 2)
    assert (second.matrix, second.variants) == ("each", ())
    assert (second.series, second.sessions) == (("v6",), ("kgdbts", "ptrace-step"))


def test_latest_points_to_the_last_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RUNS", tmp_path)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        tasks._point_latest(tmp_path / name)
        assert (tmp_path / "latest").resolve() == tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "latest", "second"]


def test_clean_removes_the_cache_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache/kernels").mkdir(parents=True)
    (tmp_path / "other").touch()
    monkeypatch.setenv("KSTEP_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        tasks.clean(Context())
        assert capsys.readouterr().out == f"removed {tmp_path / 'cache'}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_the_tests_that_need_no_kernel_are_run_with_this_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first that fails ends it. None is a script of .venv, which is moved once it is made."""
    python, run = sys.executable, []

    class Recorder:
        def cd(self, _folder: str) -> Recorder:
            return self

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_error: object) -> None:
            pass

        def run(self, command: str, **_options: object) -> object:
            run.append(command)
            return type("Result", (), {"ok": "mypy" not in command})()

    monkeypatch.setattr(tasks, "ROOT", "/")
    with pytest.raises(Exit) as end:
        tasks.run_tests.body(Recorder(), unit=True)
    assert end.value.code == 1
    assert run == [
        f"{python} -m ruff check .",
        f"{python} -m ruff format --check .",
        f"{python} {Path(python).parent}/lint-imports --no-cache --no-logo",
        f"{python} -m mypy",
    ]


@pytest.mark.parametrize("number", tasks.SIGNALS)
def test_a_signal_while_python_ends_leaves_the_status(number: signal.Signals) -> None:
    """When kstep's part is done; the status is that of what was run."""
    script = (
        "import atexit, os, sys, tasks\n"
        f"atexit.register(lambda: os.kill(os.getpid(), {number:d}))\n"
        "tasks._exit_statuses(lambda: None)()\n"
        "sys.exit(4)\n"
    )
    argv = ["env", "--default-signal=INT,HUP,TERM", sys.executable, "-c", script]
    done = subprocess.run(argv, cwd=tasks.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "")


def test_a_signal_more_ends_an_interrupted_command_in_silence() -> None:
    """While Python leaves, where an exception would be printed with its traceback."""
    script = (
        "import os, signal, tasks\n"
        "from invoke.exceptions import Exit\n"
        "def command(): raise KeyboardInterrupt\n"
        "try: tasks._exit_statuses(command)()\n"
        "except Exit: os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('not reached')\n"
    )
    argv = ["env", "--default-signal=INT,HUP,TERM", sys.executable, "-c", script]
    done = subprocess.run(argv, cwd=tasks.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
