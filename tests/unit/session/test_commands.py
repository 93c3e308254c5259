# SPDX-License-Identifier: GPL-2.0-only
"""Commands of the guest, and the blocks in which kdb is spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import Stop
from kstep.console.shell import CommandResult
from kstep.machine.hardware import Hardware
from kstep.session import commands
from kstep.session.target import Target
from tests.unit.farend import booted, end, hit, machine_of, say, stop
from tests.unit.session.conversations import F, fault_of, made_up, mistake_of

if TYPE_CHECKING:
    from tests.unit.farend import MadeUp


def test_a_command_gives_what_it_said() -> None:
    with booted(made_up(end(before="one\ntwo\n"))) as target:
        assert target.run("cat /x").text == "one\ntwo\n"


def test_a_command_that_fails_is_a_wrong_result() -> None:
    fault = fault_of(
        made_up(end(3, before="ticks: stood still\n")), lambda target: target.must_tick()
    )
    assert fault.signature is Signature.WRONG_RESULT
    assert str(fault) == "the command 'ticks 2000 5' ended with status 3: ticks: stood still"


def test_a_command_that_never_ends_hangs() -> None:
    fault = fault_of(made_up(say("some words\n")), lambda target: target.run("sleep 9", 0.1))
    assert fault.signature is Signature.HANG
    assert str(fault) == "no end of the command 'sleep 9' within 0.1 s"


def test_a_function_is_stopped_in_whoever_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell reaches some as it reads its next line, before the trigger is typed."""
    monkeypatch.setattr(commands, "READS_ON", 0.1)

    def reads_on(kernel: MadeUp) -> str:
        return end()(kernel) + hit(F)(kernel)

    by_trigger, by_shell, by_nobody = made_up(hit(F)), made_up(), made_up()
    with booted(by_trigger) as target:
        stopped = target.stop_in(["f"], "trigger")
        assert isinstance(stopped, Stop)
        assert stopped.pc == F
    by_shell.after_sysrq = reads_on
    with booted(by_shell) as target:
        stopped = target.stop_in(["f"], "trigger")
        assert isinstance(stopped, Stop)
        assert stopped.pc == F
    with booted(by_nobody) as target:
        ended = target.stop_in(["f", "g"], "trigger")
        assert isinstance(ended, CommandResult)
        assert ended.status == 0
    triggered = [any(t.startswith("trigger;") for t in k.typed) for k in (by_trigger, by_shell)]
    assert triggered == [True, False]


def test_a_boot_that_waits_is_talked_to_and_comes_up() -> None:
    kernel = made_up(hit(F), say("[    0.2] Run /init\nKSTEP-READY 6.1.192 cpus=1\n"))
    kernel.stopped = True
    with machine_of(kernel) as machine:
        machine.hardware = Hardware(parameters="kgdbwait", waits=True)
        machine.stopped = stop("Keyboard Entry")(kernel).encode()
        target = Target(machine, kernel.names)
        with target.coming_up() as first:
            assert (first.reason, first.pid) == ("Keyboard Entry", 23)
            point = target.kdb.breakpoint("f")
            target.go()
            target.expect_breakpoint(point)
            target.go()
        assert target.run("true").status == 0


def test_a_boot_that_did_not_wait_is_a_missed_hit() -> None:
    with machine_of(made_up()) as machine:
        machine.hardware = Hardware(parameters="kgdbwait", waits=True)
        machine.stopped = b""
        target = Target(machine, made_up().names)
        with pytest.raises(KernelFault) as fault, target.coming_up():
            pass
    assert fault.value.signature is Signature.MISSED_HITS


# -- the frame of most sessions


def typed(kernel: MadeUp) -> list[str]:
    """What was typed, without the shell's marks."""
    return [line.partition("; echo")[0] for line in kernel.typed]


def test_the_frame_sets_triggers_expects_clears_and_goes_on() -> None:
    kernel = made_up(hit(F), end(before="said\n"))
    with booted(kernel) as target:
        with target.stopped_at("f", "trigger") as at:
            assert (at.stop.pc, at.breakpoint.address) == (F, F)
            with pytest.raises(MachineryError, match="has not ended"):
                _ = at.answer
            assert target.kdb.registers()["pc"] == F
        assert at.answer.text == "said\n"
    assert typed(kernel) == [
        *("echo g > /proc/sysrq-trigger", "bp f", "go"),
        *("trigger", "rd", "rd", "bc 0", "go"),
    ]


def test_a_breakpoint_that_is_cleared_before_is_cleared_once() -> None:
    kernel = made_up(hit(F), end())
    with booted(kernel) as target, target.stopped_at("f", "trigger") as at:
        at.clear()
        target.kdb.registers()
    assert typed(kernel)[-4:] == ["rd", "bc 0", "rd", "go"]


def test_a_trigger_may_be_typed_before_kdb_is_entered() -> None:
    """For a place that others reach too: then nothing comes between."""
    kernel = made_up(end())
    kernel.after_sysrq = hit(F)
    with booted(kernel) as target, target.stopped_at("f", "trigger", at_once=True):
        pass
    assert typed(kernel) == [
        *("echo g > /proc/sysrq-trigger && { trigger; }", "bp f", "go", "rd", "bc 0", "go")
    ]


def test_a_trigger_that_fails_is_a_wrong_result() -> None:
    def stop_once(target: Target) -> None:
        with target.stopped_at("f", "trigger"):
            pass

    fault = fault_of(made_up(hit(F), end(2, before="no\n")), stop_once)
    assert fault.signature is Signature.WRONG_RESULT
    assert str(fault) == "the command 'trigger' ended with status 2: no"


def test_a_program_that_the_guest_lacks_is_no_fault_of_the_kernel() -> None:
    kernel = made_up(end(127, before="sh: trigger: not found\n"))
    said = mistake_of(kernel, lambda target: target.run("trigger"))
    assert said == (
        "the guest has no program for 'trigger': sh: trigger: not found;"
        " the script or the guest is wrong, not the kernel"
    )
    fault = fault_of(made_up(end(127)), lambda target: target.run("trigger"))
    assert fault.signature is Signature.WRONG_RESULT  # of a program that was found


def test_what_goes_wrong_in_the_block_is_left_as_it_is() -> None:
    """A kernel that did wrong is not told to go on."""
    kernel = made_up(hit(F))

    def find_fault(target: Target) -> None:
        with target.stopped_at("f", "trigger"):
            raise KernelFault(Signature.STUCK, "here")

    assert str(fault_of(kernel, find_fault)) == "here"
    assert typed(kernel)[-1] == "rd"
