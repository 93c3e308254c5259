# SPDX-License-Identifier: GPL-2.0-only
"""The line of a machine that is not ours: what is wrong with it, and what it can carry."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError, RequestError
from kstep.machine.capability import Capability
from kstep.machine.line import Line
from tests.unit.farend import device

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "spec",
    ["", "ttyUSB0", "serial:ttyUSB0", "serial:/dev/x@fast", "tcp:host", "tcp:h:0", "tcp:h:65536"],
)
def test_a_line_of_no_form(spec: str) -> None:
    with pytest.raises(RequestError, match="must be serial:/dev/ttyUSB0"):
        Line.parse(spec, "")


def test_what_is_not_there_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such device"):
        Line.parse(f"serial:{tmp_path}/ttyUSB0", "").require()
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="not a serial port"):
        Line.parse(f"serial:{tmp_path}/file", "").require()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RequestError, match="nothing listens there"):
        Line.parse(f"tcp:127.0.0.1:{port}", "").require()
    Line.parse(f"tcp:127.0.0.1:{port}", "true").require()  # a reset may bring it


def test_a_device_that_another_has() -> None:
    with device(lambda _typed: b"") as name:
        line = Line.parse(f"serial:{name}", "")
        with (
            contextlib.closing(line.open()),
            pytest.raises(RequestError, match="another program has it"),
        ):
            line.require()


def test_a_reset_that_fails() -> None:
    with pytest.raises(MachineryError, match="ended with status 3") as error:
        Line.parse("tcp:localhost:1", "echo no relay; exit 3").send_reset()
    assert error.value.details == ("no relay",)


# -- a program that has the line


def test_a_program_ends_with_the_line(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    stubborn = (
        f"trap '' HUP INT TERM; echo $$ >{shlex.quote(str(note))}; echo up;"
        " while :; do sleep 1; done"
    )
    port = Line.parse(f"exec:{shlex.join(['sh', '-c', stubborn])}", "").open()
    assert os.read(port.fileno(), 99) == b"up\n"  # raw: no return is put before it
    port.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_place_of_labgrid_is_its_client() -> None:
    line = Line.parse("labgrid:rack1", "")
    assert line.program == ("labgrid-client", "-p", "rack1", "console")
    assert line.reset == "labgrid-client -p rack1 power cycle"
    assert Line.parse("labgrid:rack1", "reset-it").reset == "reset-it"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("exec:no-such-program x", "program no-such-program not found"),
        ("exec:sh -c 'x", "fix the quoting"),
    ],
)
def test_a_program_that_is_none(spec: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        Line.parse(spec, "").require()


# -- what it can carry


@pytest.mark.parametrize(
    ("spec", "can"),
    [
        ("serial:/dev/ttyS0", {Capability.BREAK}),
        ("tcp:host:1", set()),
        ("exec:console x", set()),
        ("labgrid:rack1", {Capability.FRESH_BOOT}),
    ],
)
def test_what_a_machine_can_do_is_told_by_its_line(spec: str, can: set[Capability]) -> None:
    assert Line.parse(spec, "").offer.capabilities == can
    assert Line.parse(spec, "reset-it").offer.capabilities == can | {Capability.FRESH_BOOT}


@pytest.mark.parametrize("spec", ["serial:/dev/ttyS0", "tcp:host:1", "exec:console", "labgrid:x"])
@pytest.mark.parametrize("reset", ["", "reset-it"])
def test_a_line_says_of_each_capability_that_it_is_there_or_why_not(spec: str, reset: str) -> None:
    """A capability that is added must be decided on."""
    offer = Line.parse(spec, reset).offer
    assert offer.capabilities | offer.lacks.keys() == set(Capability)
    assert not offer.capabilities & offer.lacks.keys()


@pytest.mark.parametrize("spec", ["serial:/dev/ttyUSB0@9600", "tcp:host:1", "exec:console a,b"])
def test_a_slow_line_has_a_delay_between_characters(spec: str) -> None:
    plain, slow = Line.parse(spec, "reset"), Line.parse(f"delay=5,{spec}", "reset")
    assert slow == replace(plain, spec=f"delay=5,{spec}", delay=0.005)
    assert plain.delay == 0


@pytest.mark.parametrize("spec", ["delay=,tcp:h:1", "delay=1000,tcp:h:1", "delay=x,tcp:h:1"])
def test_a_delay_of_no_form(spec: str) -> None:
    with pytest.raises(RequestError, match="delay=MILLISECONDS"):
        Line.parse(spec, "")
