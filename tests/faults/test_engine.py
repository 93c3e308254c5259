# SPDX-License-Identifier: GPL-2.0-only
"""The container engine gone at each question that it is asked: it is named, and nothing is left."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, Any

import docker.errors
import pytest
import requests
import urllib3.exceptions

import docker
from kstep.base.errors import MachineryError
from kstep.toolchain import CommandError, container
from kstep.toolchain.container import DockerProcess
from kstep.toolchain.engine import EngineError
from tests.unit.toolchain.test_container import Container, Engine, tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REFUSED = requests.exceptions.ConnectionError(
    "('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))"
)
FAULTS = {
    "refused": REFUSED,
    "no socket": requests.exceptions.ConnectionError(
        "FileNotFoundError: No such file or directory"
    ),
    "hung up": urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead(0 bytes read)"),
    "cut off": requests.exceptions.ChunkedEncodingError("Connection broken"),
    "silent": requests.exceptions.ReadTimeout("Read timed out."),
    "broken": docker.errors.APIError("server error: containerd is not running"),
}
QUESTIONS = ("create", "attach_socket", "start", "reload", "logs", "wait")
ASKED_BY_A_MACHINE = ("create", "attach_socket", "start", "reload")


class Gone(Engine):
    """An engine that goes at a question, and does not come back."""

    def __init__(self, at: str, fault: Exception) -> None:
        super().__init__(says=[b"  CC      a.o\n"])
        self.at, self.fault, self.is_gone = at, fault, False

    def create(self, image: str, argv: list[str], **asked: Any) -> Container:  # noqa: ANN401 -- docker's own
        """Make a container."""
        del image, argv
        self.ask("create")
        self.made.append(Going(self, asked["labels"]))
        return self.made[-1]

    def ask(self, question: str) -> None:
        """Answer, or go."""
        if self.is_gone or question == self.at:
            self.is_gone = not isinstance(self.fault, docker.errors.APIError)
            raise self.fault


class Going(Container):
    """A container of it."""

    engine: Gone

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        """Ask the engine first."""
        if name in {*QUESTIONS, "remove"}:
            engine: Gone = object.__getattribute__(self, "engine")
            engine.ask(name)
        return object.__getattribute__(self, name)


def answering(monkeypatch: pytest.MonkeyPatch, engine: Gone) -> Gone:
    """Have an engine answer whoever asks for Docker's."""
    monkeypatch.setattr(docker, "from_env", lambda timeout: engine)  # noqa: ARG005
    return engine


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_command_whose_engine_goes(
    tmp_path: Path,
    injected: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    fault: str,
) -> None:
    """A build, say: it is no fault of what is built."""
    engine = answering(monkeypatch, Gone(question, FAULTS[fault]))
    with pytest.raises(EngineError) as error:
        tools().run(["make"], cwd=tmp_path, writable=[tmp_path])
    said = str(error.value)
    assert said.startswith("the Docker engine ")
    assert not isinstance(error.value, CommandError)
    assert error.value.status == MachineryError.status
    assert engine.closed == 1
    if not engine.is_gone:  # it still answers other questions
        assert all(each.removed for each in engine.made)
    injected("engine gone, a command", said.partition(":")[0])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("question", ASKED_BY_A_MACHINE)
def test_a_machine_whose_engine_goes(
    injected: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    fault: str,
) -> None:
    answering(monkeypatch, Gone(question, FAULTS[fault]))
    with pytest.raises(EngineError, match=r"^the Docker engine ") as error:
        tools().spawn(["qemu-system-aarch64"])
    injected("engine gone, a machine", str(error.value).partition(":")[0])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_running_machine_whose_engine_goes(
    injected: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """That the engine is gone is no word about QEMU: it is not said to have ended."""
    engine = answering(monkeypatch, Gone("", FAULTS[fault]))
    process = tools().spawn(["qemu-system-aarch64"])
    engine.at = "reload"
    with pytest.raises(EngineError, match=r"^the Docker engine ") as error:
        process.alive()
    engine.at = "logs"
    assert process.output() == ""
    process.kill()
    injected("engine gone, a machine that runs", str(error.value).partition(":")[0])


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Start what plays a container's first process."""
    started = subprocess.Popen(["sleep", "60"])
    yield started
    started.kill()
    started.wait()


def test_what_runs_in_a_container_ends_even_if_no_engine_answers(
    monkeypatch: pytest.MonkeyPatch, child: subprocess.Popen[bytes]
) -> None:
    """A killed engine leaves containers running until it is started again."""
    engine = Gone("", REFUSED)
    answering(monkeypatch, engine)
    process = tools().spawn(["qemu-system-aarch64"])
    monkeypatch.setattr(DockerProcess, "_visible", lambda _self: child.pid)
    engine.is_gone = True
    process.kill()
    assert child.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize("status", [137, 143])
def test_an_engine_that_stops_is_no_build_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """It ends its containers first, and says so as if they had ended; then it goes."""
    engine = Gone("", REFUSED)
    engine.status = status
    answers = iter([True, True])

    def ping(_self: object) -> bool:
        if next(answers, False):
            return True
        raise REFUSED

    monkeypatch.setattr(Engine, "ping", ping, raising=False)
    answering(monkeypatch, engine)
    with pytest.raises(EngineError, match="does not answer any more: connection refused"):
        tools().run(["make"], cwd=tmp_path, writable=[tmp_path])


def test_a_command_that_somebody_kills_is_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the engine goes on answering."""
    engine = Gone("", REFUSED)
    engine.status = 137
    monkeypatch.setattr(container, "STOPPING", 0.1)
    monkeypatch.setattr(Engine, "ping", lambda _self: True, raising=False)
    answering(monkeypatch, engine)
    with pytest.raises(CommandError, match="ended with status 137"):
        tools().run(["make"], cwd=tmp_path, writable=[tmp_path])
