# SPDX-License-Identifier: GPL-2.0-only
"""The verbs of a session, against conversations that were recorded, and made-up ones."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console import console as consoles
from kstep.console.kdb import Stop
from kstep.console.shell import Answer
from kstep.session import target as targets
from kstep.session.target import Target
from tests.unit.farend import (
    MORE,
    FakeMachine,
    MadeUp,
    Recording,
    booted,
    byte_by_byte,
    end,
    hit,
    line_to,
    pieces,
    say,
    step,
    stop,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.farend import Event

F = 0xFFFF_8000_0810_0000
G = 0xFFFF_8000_0811_0000
NOP = 0xD503_201F
ERET = 0xD69F_03E0
RET = 0xD65F_03C0
WORDS = {F: NOP, F + 4: NOP, F + 8: ERET}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing comes, wait no longer than a test may."""
    monkeypatch.setattr(consoles, "LOOK", 0.05)
    monkeypatch.setattr(targets, "COMPLAINT_TEXT", 0.2)


def made_up(*runs: Event, steps: tuple[Event, ...] = (), smp: bool = True) -> MadeUp:
    """Make a kernel with two functions."""
    return MadeUp(
        symbols={"f": F, "g": G}, words=WORDS, runs=list(runs), steps=iter(steps), smp=smp
    )


def go_past(target: Target) -> None:
    """Hit a breakpoint at f, and go on."""
    with target.in_kdb() as kdb:
        point = kdb.breakpoint("f")
    with target.running("trigger"):
        target.expect_breakpoint(point)
        target.go()


def test_where_an_instruction_leads() -> None:
    with booted(made_up()) as target, target.in_kdb():
        assert target.successors(F) == {F + 4}


def fault_of(kernel: MadeUp, script: Callable[[Target], object] = go_past) -> KernelFault:
    """Run a script that must find a fault."""
    with pytest.raises(KernelFault) as fault, booted(kernel) as target:
        script(target)
    return fault.value


# -- recorded: what real kernels said


def replay(name: str, script: Callable[[Target], None], sizes: list[int]) -> tuple[str, ...]:
    """Run a script against a recording cut into pieces; give signature and message."""
    recording = Recording.load(name)
    with (
        pytest.MonkeyPatch.context() as patch,
        line_to(recording, pieces(sizes), packets=True) as console,
    ):
        patch.setattr(targets, "_numbers", count(recording.first_number))
        patch.setattr(targets, "TICKS", 0.0)
        target = Target(FakeMachine(console, recording.words), recording.symbols)
        try:
            script(target)
        except KernelFault as fault:
            return fault.signature, str(fault)
        assert not recording.turns, "the conversation was longer then"
    return ("pass",)


def twice_past(target: Target) -> None:
    """Say what continue-past-breakpoint said when it was recorded."""
    with target.in_kdb() as kdb:
        point = kdb.breakpoint("set_fs_pwd")
    for _ in range(2):
        with target.running("cd /tmp"):
            target.expect_breakpoint(point)
            target.go()
        assert target.run("echo still here").text == "still here\n"
    with target.in_kdb() as kdb:
        kdb.clear(point)


def in_order(target: Target) -> None:
    """Say what step-in-order said when it was recorded."""
    with target.in_kdb() as kdb:
        point = kdb.breakpoint("set_fs_pwd")
    with target.running("cd /tmp"):
        target.expect_breakpoint(point)
        for each in target.steps(300):
            each.must_follow_program_order()
            each.must_make_progress()


REHIT = (
    "set_fs_pwd is hit again with the same registers, so without being reached again;"
    " `go` given 3 times more hits it 3 times more"
)
DEPARTURE = "step 1 from set_fs_pwd went to el1_interrupt+0x1c, not to set_fs_pwd+0x4"
STAYS = f"{DEPARTURE}, and stays there"
WALKS = f"{DEPARTURE}, and then to el1_interrupt+0x20, el1_interrupt+0x24, el1_interrupt+0x28"


@settings(max_examples=20)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=10))
@pytest.mark.parametrize(
    ("name", "script", "found"),
    [
        ("rehit", twice_past, (Signature.REHIT, REHIT)),
        ("continues", twice_past, ("pass",)),
        ("stuck", in_order, (Signature.STUCK, STAYS)),
        ("enters-interrupt", in_order, (Signature.ENTERS_INTERRUPT, WALKS)),
    ],
)
def test_any_cutting_of_a_conversation_comes_to_the_same(
    name: str, script: Callable[[Target], None], found: tuple[str, ...], sizes: list[int]
) -> None:
    assert replay(name, script, sizes) == found


# -- the guest's shell


def test_a_command_gives_what_it_said() -> None:
    with booted(made_up(end(before="one\ntwo\n"))) as target:
        assert target.run("cat /x").text == "one\ntwo\n"


def test_a_command_that_fails_is_a_wrong_result() -> None:
    fault = fault_of(made_up(end(3, before="ticks: stood still\n")), Target.must_tick)
    assert fault.signature is Signature.WRONG_RESULT
    assert str(fault) == "the command 'ticks 2000 5' ended with status 3: ticks: stood still"


def test_a_command_that_never_ends_hangs() -> None:
    fault = fault_of(made_up(say("some words\n")), lambda target: target.run("sleep 9", 0.1))
    assert fault.signature is Signature.HANG
    assert str(fault) == "no end of the command 'sleep 9' within 0.1 s"


def test_the_time_scale_stretches_the_wait() -> None:
    def slow(target: Target) -> None:
        target._machine.scale = 4.0
        target.run("sleep 9", 0.05)

    assert "within 0.2 s" in str(fault_of(made_up(say("")), slow))


def test_a_machine_that_died_is_no_hang() -> None:
    """It is told as soon as nothing comes, and is no verdict on the kernel."""

    def gone() -> None:
        raise MachineryError("QEMU ended", Signature.MACHINE_DIED)

    with booted(made_up(say("half an ans"))) as target:
        target._console._alive = gone
        with pytest.raises(MachineryError) as error:
            target.run("true", 60)
    assert error.value.signature is Signature.MACHINE_DIED


# -- at a breakpoint


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
@pytest.mark.parametrize("smp", [True, False], ids=["SMP", "UP"])
def test_one_trigger_one_hit(cut: Callable[[bytes], list[bytes]], smp: bool) -> None:  # noqa: FBT001 -- a parameter
    kernel = made_up(hit(F), smp=smp)
    with booted(kernel, cut) as target:
        go_past(target)
        assert target.run("true").status == 0
    assert [line.partition(";")[0] for line in kernel.typed] == [
        "echo g > /proc/sysrq-trigger",
        "bp f",
        "go",
        "trigger",
        "rd",
        "go",
        "true",
    ]


def test_a_stop_behind_a_pager_is_read() -> None:
    """The kernel's messages may fill kdb's page before it says why it stopped."""
    lines = f"line\nline\n{MORE}line\n{MORE}"
    with booted(made_up(stop("Breakpoint", F, before=lines))) as target:
        go_past(target)


def test_no_hit_is_missed_hits() -> None:
    fault = fault_of(made_up())
    assert fault.signature is Signature.MISSED_HITS
    assert str(fault) == (
        "the command ended with status 0 and there was no stop for Breakpoint at f"
    )


def test_a_trigger_that_is_silent_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "WAIT", 0.8)
    fault = fault_of(made_up(say("")))
    assert fault.signature is Signature.HANG
    assert str(fault) == "no stop for Breakpoint at f within 0.8 s"


@pytest.mark.parametrize(
    ("after", "hits"),
    [
        ((hit(F), hit(F), hit(F)), 3),
        ((hit(F), end()), 1),
        ((end(),), 0),
        ((hit(F), hit(G)), 1),
    ],
)
def test_the_same_registers_are_a_rehit(after: tuple[Event, ...], hits: int) -> None:
    fault = fault_of(made_up(hit(F, x0=1), hit(F, x0=1), *after))
    assert fault.signature is Signature.REHIT
    assert str(fault).endswith(f"`go` given 3 times more hits it {hits} times more")


@pytest.mark.parametrize(
    ("after", "what"),
    [(say(""), "no breakpoint or the command's end within 0.8 s"), (say("BUG: x\n"), "BUG: x")],
)
def test_a_rehit_stays_one_whatever_comes_of_it(
    after: Event, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "WAIT", 0.8)
    fault = fault_of(made_up(hit(F), hit(F), hit(F), after))
    assert fault.signature is Signature.REHIT
    assert str(fault).endswith(f"hits it 1 times more; then: {what}")


def test_other_registers_are_a_double_hit() -> None:
    """The function was reached twice, and there was one trigger."""
    fault = fault_of(made_up(hit(F, x0=1), hit(F, x0=2)))
    assert fault.signature is Signature.DOUBLE_HITS
    assert str(fault) == "f is hit again, with other registers than before"


@pytest.mark.parametrize(
    ("event", "signature", "message"),
    [
        (hit(G), Signature.OFF_ORDER, "an unknown breakpoint is hit at g"),
        (step(G), Signature.STEP_FLOOD, "a step that nobody asked for stops at g"),
        (stop("Keyboard Entry"), Signature.OFF_ORDER, "kdb is entered at nowhere: Keyboard Entry"),
        (stop("Recursion", G), Signature.OFF_ORDER, "kdb is entered at g: Recursion"),
    ],
)
@pytest.mark.parametrize("first", [(), (hit(F),)], ids=["instead", "afterwards"])
def test_a_stop_that_nobody_waits_for(
    event: Event, signature: Signature, message: str, first: tuple[Event, ...]
) -> None:
    fault = fault_of(made_up(*first, event))
    assert (fault.signature, str(fault)) == (signature, message)


def test_a_breakpoint_that_was_cleared_and_hits_is_found() -> None:
    def cleared(target: Target) -> None:
        go_past(target)
        target.run("trigger")

    fault = fault_of(made_up(hit(F), end(), hit(F, x0=9)), cleared)
    assert fault.signature is Signature.DOUBLE_HITS


def test_kdb_that_does_not_say_why_it_prompts_is_no_verdict() -> None:
    with (
        pytest.raises(MachineryError, match=r"kdb prompts and does not say why"),
        booted(made_up(say("[0]kdb> "))) as target,
    ):
        target.run("true")


def test_a_function_is_stopped_in_whoever_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell reaches some as it reads its next line, before the trigger is typed."""
    monkeypatch.setattr(targets, "READS_ON", 0.1)

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
        assert isinstance(ended, Answer)
        assert ended.status == 0
    triggered = [any(t.startswith("trigger;") for t in k.typed) for k in (by_trigger, by_shell)]
    assert triggered == [True, False]


# -- steps


def step_twice(target: Target) -> None:
    """Step from the breakpoint at f."""
    with target.in_kdb() as kdb:
        point = kdb.breakpoint("f")
    with target.running("trigger"):
        target.expect_breakpoint(point)
        for each in target.steps(2):
            each.must_follow_program_order()
        target.go()


@pytest.mark.parametrize(("count", "last"), [(1, 3), (3, 3), (4, 5)])
def test_steps_end_where_a_function_returns(count: int, last: int) -> None:
    """The third returns, and the fifth."""
    words = {F: NOP, F + 4: NOP, F + 8: RET, G: NOP, G + 4: RET}
    way = (F + 4, F + 8, G, G + 4, F, F + 4)
    events = tuple(step(pc, x30=G if pc < G else F) for pc in way)
    kernel = MadeUp(
        symbols={"f": F, "g": G}, words=words, runs=[hit(F, x30=G), end()], steps=iter(events)
    )
    numbers = []

    def walk(target: Target) -> None:
        with target.in_kdb() as kdb:
            point = kdb.breakpoint("f")
        with target.running("trigger"):
            target.expect_breakpoint(point)
            for each in target.steps_to_a_return(count):
                each.must_follow_program_order()
                numbers.append(each.number)
            target.go()

    with booted(kernel) as target:
        walk(target)
    assert numbers == list(range(1, last + 1))


def test_a_step_that_never_comes_back_runs_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "WAIT", 0.8)
    fault = fault_of(made_up(hit(F), steps=(step(F + 4), say(""))), step_twice)
    assert fault.signature is Signature.RUNAWAY
    assert str(fault) == "the step from f+0x4 never came back"


def test_a_step_after_which_the_guest_runs_on_runs_away() -> None:
    fault = fault_of(made_up(hit(F), steps=(step(F + 4), end())), step_twice)
    assert fault.signature is Signature.RUNAWAY
    assert str(fault) == (
        "the step from f+0x4 never came back: the guest ran on, and the command ended with status 0"
    )


def test_a_step_that_ends_nowhere_is_off_order() -> None:
    fault = fault_of(made_up(hit(F), steps=(stop("Keyboard Entry"),)), step_twice)
    assert fault.signature is Signature.OFF_ORDER
    assert str(fault) == "the step from f ended in 'Keyboard Entry'"


def test_a_step_after_go_is_a_flood() -> None:
    fault = fault_of(made_up(hit(F), step(G), steps=(step(F + 4), step(F + 8))), step_twice)
    assert fault.signature is Signature.STEP_FLOOD


def test_after_a_fault_the_metrics_are_there() -> None:
    with pytest.raises(KernelFault), booted(made_up(hit(F), steps=(step(F + 4), end()))) as target:
        step_twice(target)
    assert target.metrics["steps"] == 1


# -- complaints


WARNING = "[    1.5] WARNING: CPU: 0 PID: 23 at kernel/x.c:1 f+0x4/0x8"
PANIC = "[    1.5] Kernel panic - not syncing: Attempted to kill init!"


@pytest.mark.parametrize("cut", [whole, byte_by_byte])
@pytest.mark.parametrize(
    ("said", "signature", "line"),
    [
        (f"------------[ cut here ]------------\n{WARNING}\nmore\n", Signature.SPLAT, WARNING),
        (f"{PANIC}\n---[ end Kernel panic - not syncing ]---\n", Signature.PANIC, PANIC),
    ],
)
@pytest.mark.parametrize("where", ["command", "step"])
def test_a_complaint_ends_whatever_goes_on(
    cut: Callable[[bytes], list[bytes]], said: str, signature: Signature, line: str, where: str
) -> None:
    runs, steps = ((say(said),), ()) if where == "command" else ((hit(F),), (say(said),))
    with booted(made_up(*runs, steps=steps), cut) as target:
        with pytest.raises(KernelFault) as fault:
            step_twice(target)
        heard = target.hear_out(fault.value)
    assert (heard.signature, str(heard)) == (signature, line)


def test_unexpected_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "FLOOD", 0.1)
    unexpected = "[    1.5] Unexpected kernel single-step exception at EL1"
    with booted(made_up(say(f"{unexpected}\n" * 3))) as target:
        with pytest.raises(KernelFault) as fault:
            go_past(target)
        heard = target.hear_out(fault.value)
    assert (heard.signature, str(heard)) == (Signature.STEP_FLOOD, f"{unexpected}: 3 in 0.1 s")
    assert target.metrics["unexpected_steps"] == 3


def test_a_complaint_that_breaks_off_is_no_hang() -> None:
    fault = fault_of(made_up(say("BUG: half a li")), lambda target: target.run("x", 0.2))
    assert (fault.signature, str(fault)) == (Signature.SPLAT, "BUG: half a li")


def test_another_fault_is_not_waited_for() -> None:
    fault = KernelFault(Signature.STUCK, "there")
    with booted(made_up()) as target:
        assert target.hear_out(fault) is fault


def test_a_complaint_during_boot_is_heard() -> None:
    """The ear is there before the guest is."""
    with line_to(MadeUp()) as console:
        target = Target(FakeMachine(console, {}), MadeUp().names)
        assert console.on_text is not None
        with pytest.raises(KernelFault):
            console.on_text(b"Kernel panic - not syncing\r\n")
    assert target.metrics == {}


# -- ways in and out of kdb


def test_a_boot_that_waits_is_talked_to_and_comes_up() -> None:
    kernel = made_up(hit(F), say("[    0.2] Run /init\nKSTEP-READY 6.1.192 cpus=1\n"))
    kernel.stopped = True
    with booted(kernel) as target:
        target._machine.stopped = stop("Keyboard Entry")(kernel).encode()
        with target.coming_up() as first:
            assert (first.reason, first.pid) == ("Keyboard Entry", 23)
            point = target.kdb.breakpoint("f")
            target.go()
            target.expect_breakpoint(point)
            target.go()
        assert target.run("true").status == 0


def test_a_boot_that_did_not_wait_is_a_missed_hit() -> None:
    with booted(made_up()) as target:
        target._machine.stopped = b""
        with pytest.raises(KernelFault) as fault, target.coming_up():
            pass
    assert fault.value.signature is Signature.MISSED_HITS


def test_what_is_provoked_must_be_said_once() -> None:
    warns = end(before=f"{WARNING}\n")
    with booted(made_up(warns)) as target, target.provoking("at kernel/x.c"):
        target.run("x")
    with (
        booted(made_up()) as target,
        pytest.raises(KernelFault, match="0 times, not once") as fault,
        target.provoking("at kernel/x.c"),
    ):
        target.run("x")
    assert fault.value.signature is Signature.WRONG_RESULT


@pytest.mark.parametrize("times", [0, 1, 2])
def test_what_is_excused_may_be_said(times: int) -> None:
    with booted(made_up(end(before=f"{WARNING}\n" * times))) as target:
        with target.excusing("at kernel/x.c") as heard:
            target.run("x")
        assert heard == {"at kernel/x.c": times}


def test_a_line_that_is_not_said_is_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "WAIT", 0.1)
    fault = fault_of(made_up(), lambda target: target.await_line("tock"))
    assert (fault.signature, str(fault)) == (Signature.HANG, "the guest says no tock within 0.1 s")


def test_a_backtrace_is_held_against_the_stack() -> None:
    record, back = 0xFFFF_0000_0000_8000, G + 4
    words = {record: 0, record + 4: 0, record + 8: back & 0xFFFF_FFFF, record + 12: back >> 32}
    registers = {"pc": F + 4, "x29": record}
    with booted(MadeUp(symbols={"f": F, "g": G}, words=words)) as target:
        target.must_show_stack(" f+0x4/0x8\n g+0x4/0x8\n", registers)
        with pytest.raises(KernelFault, match="it ends where g") as fault:
            target.must_show_stack(" f+0x4/0x8\n", registers)
    assert fault.value.signature is Signature.WRONG_RESULT
