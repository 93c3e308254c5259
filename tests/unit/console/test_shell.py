# SPDX-License-Identifier: GPL-2.0-only
"""The guest's shell: where a command ends, and with what."""

from __future__ import annotations

import re
import subprocess

import pytest

from kstep.console.shell import READY, Command, CommandResult


def heard(command: Command, said: bytes) -> CommandResult:
    """Read the answer to a command from what the line said."""
    match = re.search(command.end, said)
    assert match is not None
    return command.answer(match)


def test_the_end_has_status_and_output_without_the_echo() -> None:
    said = b'cat /x; echo KSTEP"-END" 7 $?\r\ncat: /x: no such file\r\nKSTEP-END 7 1\r\nmore'
    assert heard(Command("cat /x", 7), said) == CommandResult(1, "cat: /x: no such file\n")


@pytest.mark.parametrize(
    "said",
    [
        Command("true", 7).line,  # its own echo
        b"KSTEP-END 77 0\r\n",
        b"KSTEP-END 1 7\r\n",
        b"KSTEP-END 7 0",  # the status may have more digits
        b"KSTEP-END 7 $?\r\n",
    ],
)
def test_nothing_else_is_taken_for_the_end(said: bytes) -> None:
    assert re.search(Command("true", 7).end, said) is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("true", 0),
        ("exit 3", 3),
        ("(exit 255)", 255),
        ("nothing", 127),
        ("kill -9 $$", 137),
    ],
)
def test_a_real_shell_says_it(text: str, status: int) -> None:
    command = Command(f"sh -c '{text}'", 12)
    done = subprocess.run(["sh", "-c", command.line], capture_output=True, check=False)
    assert heard(command, command.line + b"\n" + done.stdout).status == status


MESSAGE = b"[   20.444695] hrtimer: interrupt took 11691376 ns\r\n"


@pytest.mark.parametrize("at", range(len(b"KSTEP-END 17 127\r\n")))
def test_a_message_of_the_kernel_may_come_anywhere(at: int) -> None:
    end, command = b"KSTEP-END 17 127\r\n", Command("x", 17)
    said = command.line + b"\r\nout\r\n" + end[:at] + MESSAGE * 2 + end[at:]
    assert heard(command, said).status == 127
    assert re.search(command.end, said[:-1]) is None


@pytest.mark.parametrize("at", range(len(b"KSTEP-READY 6.1.192 cpus=14\r\n")))
def test_nor_is_the_word_that_it_is_ready_lost(at: int) -> None:
    word = b"KSTEP-READY 6.1.192 cpus=14\r\n"
    assert READY.search(word[:at] + MESSAGE + word[at:])
    assert not READY.search(word[:at] + MESSAGE + word[at:-1])


def test_ready_tells_the_kernel_and_its_processors() -> None:
    match = READY.search(b"[    0.22] Run /init\r\nKSTEP-READY 6.1.192 cpus=4\r\n")
    assert match is not None
    assert (match["release"], match["cpus"]) == (b"6.1.192", b"4")
    assert READY.search(b"KSTEP-READY 6.1.192 cpus=1") is None  # it may be 16


@pytest.mark.parametrize("caller", [b"[    T1]", b"[    C0]", b"[ T1234]"])
def test_a_message_may_name_who_it_is_from(caller: bytes) -> None:
    """CONFIG_PRINTK_CALLER: caller_id in print_caller(), kernel/printk/printk.c."""
    message = b"[   20.444695]" + caller + b" x: took 11 ns\r\n"
    assert READY.search(b"KSTEP-READY 6.1.1" + message + b"92 cpus=1" + message + b"\r\n")
    said = Command("x", 7).line + b"\r\nn=1" + message + b"2\r\nKSTEP-" + message + b"END 7 0\r\n"
    assert heard(Command("x", 7), said).figures == {"n": 12}
