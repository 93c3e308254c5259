# SPDX-License-Identifier: GPL-2.0-only
"""The conversation on a line: what is heard, in which state, and splats in it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console import kdb as kdbs
from kstep.console.kdb import Breakpoint
from kstep.session import dialogue as dialogues
from kstep.session.dialogue import State
from kstep.session.target import Target
from tests.unit.farend import (
    MORE,
    MadeUp,
    booted,
    byte_by_byte,
    end,
    hit,
    machine_of,
    say,
    stop,
    whole,
)
from tests.unit.session.conversations import (
    WORDS,
    F,
    ScriptedGdb,
    fault_of,
    go_past,
    made_up,
    mistake_of,
    step_twice,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


def test_the_time_scale_stretches_the_wait() -> None:
    fault = fault_of(made_up(say("")), lambda target: target.run("sleep 9", 0.05), 4.0)
    assert "within 0.2 s" in str(fault)


def test_the_time_scale_stretches_kdb_s_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known once the guest is up, and the target is made before that."""
    monkeypatch.setattr(kdbs, "ANSWER", 0.05)
    kernel = made_up()
    with machine_of(kernel) as machine:
        target = Target(machine, kernel.names)
        machine.scale = 4.0
        with pytest.raises(KernelFault, match=r"within 0\.2 s"), target.in_kdb() as kdb:
            kdb.press(b"silence")


def test_a_machine_that_died_is_no_hang() -> None:
    """It is told as soon as nothing comes, and is no verdict on the kernel."""

    def gone() -> None:
        raise MachineryError("QEMU ended", Signature.MACHINE_DIED)

    kernel = made_up(say("half an ans"))
    with machine_of(kernel) as machine:
        target = Target(machine, kernel.names)
        machine.console._alive = gone
        with pytest.raises(MachineryError) as error:
            target.run("true", 60)
    assert error.value.signature is Signature.MACHINE_DIED


def test_a_stop_behind_a_pager_is_read() -> None:
    """The kernel's messages may fill kdb's page before it says why it stopped."""
    lines = f"line\nline\n{MORE}line\n{MORE}"
    with booted(made_up(stop("Breakpoint", F, before=lines))) as target:
        go_past(target)


def test_kdb_that_does_not_say_why_it_prompts_is_no_verdict() -> None:
    with (
        pytest.raises(MachineryError, match=r"kdb's prompt without a reason for the stop"),
        booted(made_up(say("[0]kdb> "))) as target,
    ):
        target.run("true")


# -- splats


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
def test_a_splat_ends_whatever_goes_on(
    cut: Callable[[bytes], list[bytes]], said: str, signature: Signature, line: str, where: str
) -> None:
    runs, steps = ((say(said),), ()) if where == "command" else ((hit(F),), (say(said),))
    with booted(made_up(*runs, steps=steps), cut) as target:
        with pytest.raises(KernelFault) as fault:
            step_twice(target)
        heard = target.drain(fault.value)
    assert (heard.signature, str(heard)) == (signature, line)


def test_unexpected_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogues, "FLOOD", 0.1)
    unexpected = "[    1.5] Unexpected kernel single-step exception at EL1"
    with booted(made_up(say(f"{unexpected}\n" * 3))) as target:
        with pytest.raises(KernelFault) as fault:
            go_past(target)
        heard = target.drain(fault.value)
    assert (heard.signature, str(heard)) == (Signature.STEP_FLOOD, f"{unexpected}: 3 in 0.1 s")
    assert target.metrics["unexpected_steps"] == 3


def test_a_splat_that_breaks_off_is_no_hang() -> None:
    fault = fault_of(made_up(say("BUG: half a li")), lambda target: target.run("x", 0.2))
    assert (fault.signature, str(fault)) == (Signature.SPLAT, "BUG: half a li")


def test_another_fault_is_not_waited_for() -> None:
    fault = KernelFault(Signature.STUCK, "there")
    with booted(made_up()) as target:
        assert target.drain(fault) is fault


def test_a_splat_during_boot_is_heard() -> None:
    """Splats are looked for before the guest is up."""
    with machine_of(MadeUp()) as machine:
        target = Target(machine, MadeUp().names)
        assert machine.console.on_text is not None
        with pytest.raises(KernelFault):
            machine.console.on_text(b"Kernel panic - not syncing\r\n")
    assert target.metrics == {}


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


def test_a_line_that_is_not_said_is_a_hang() -> None:
    fault = fault_of(made_up(), lambda target: target.await_line("tock"), 0.01)
    assert (fault.signature, str(fault)) == (Signature.HANG, "the guest: no tock within 0.1 s")


# -- states


@contextmanager
def any_state(state: State) -> Iterator[Target]:
    """Return a target in a state."""
    kernel = made_up(say(""))
    with machine_of(kernel) as machine:
        machine.stopped = stop("Keyboard Entry")(made_up()).encode()
        machine.hardware = replace(machine.hardware, waits=state in (State.KDB, State.GDB))
        target = Target(machine, kernel.names)
        match state:
            case State.RUNNING:
                target._dialogue.start("sleep 9")
            case State.GDB:
                target._dialogue.hand_to_gdb()
            case State.OFF_LINE:
                target._dialogue._kgdboc = False
            case State.GONE:
                target._dialogue.give_up()
        assert target.state is state
        yield target


POINT = Breakpoint(0, F)


SHELL, RUNNING, KDB, GDB, OFF, GONE = State


def enter(context: AbstractContextManager[object]) -> None:
    """Enter what a verb gives for a block."""
    with context:
        pass


# Each verb, and the states that it is for; in all others it is a mistake of the script.
VERBS: dict[str, tuple[Callable[[Target], object], set[State]]] = {
    "running 'x'": (lambda target: target.run("x"), {SHELL, OFF, GDB}),
    "in_kdb": (lambda target: enter(target.in_kdb()), {SHELL}),
    "stopped_at": (lambda target: enter(target.stopped_at("f", "x")), {SHELL}),
    "stop_in": (lambda target: target.stop_in(["f"], "x"), {SHELL}),
    "without_kgdboc": (lambda target: enter(target.without_kgdboc()), {SHELL}),
    "crash": (lambda target: target.crash("x", "y"), {SHELL}),
    "in_gdbstub": (lambda target: enter(target.in_gdbstub(7)), {SHELL}),
    "awaiting a stop for Breakpoint": (
        lambda target: target.expect_breakpoint(POINT),
        {SHELL, RUNNING},
    ),
    "break_in": (lambda target: target.break_in(), {SHELL, RUNNING, GONE}),
    "await_line": (lambda target: target.await_line("x"), {SHELL, RUNNING, OFF, GONE}),
    "expect_wait_for_gdb": (lambda target: target.expect_wait_for_gdb(F), {RUNNING}),
    "go": (lambda target: target.go(), {KDB}),
    "step": (lambda target: target.step_unjudged(), {KDB}),
    "steps": (lambda target: next(target.steps(1)), {KDB}),
    "call": (lambda target: target.call(), {KDB}),
    "watch_registers": (lambda target: target.watch_registers(), {KDB}),
    "successors": (lambda target: target.successors(F), {KDB}),
    "fixup": (lambda target: target.fixup(F), {KDB}),
    "reboot": (lambda target: target.reboot(), {KDB}),
    "switch_to_gdb": (lambda target: enter(target.in_gdb()), {KDB}),
    "line_for_gdb": (lambda target: enter(target.in_gdb(waits=True)), {GDB}),
    "kdb's 'rd'": (lambda target: target.kdb.registers(), {KDB}),
    "kdb's 'q'": (lambda target: target.kdb.press(b"q"), {KDB}),
    "coming_up": (lambda target: enter(target.coming_up()), {KDB, GDB}),
    "release_from_gdb": (lambda target: target.release_from_gdb(ScriptedGdb()), {GDB}),
    "expect_breakpoint_in_gdb": (
        lambda target: target.expect_breakpoint_in_gdb(ScriptedGdb(), POINT),
        {GDB},
    ),
}


@pytest.mark.parametrize(
    ("verb", "state"),
    [(verb, state) for verb, (_, legal) in VERBS.items() for state in State if state not in legal],
)
def test_a_verb_in_a_wrong_state_is_a_mistake_of_the_script(verb: str, state: State) -> None:
    """It is told before anything is typed, and never blames the kernel."""
    use, legal = VERBS[verb]
    with any_state(state) as target, pytest.raises(MachineryError) as error:
        use(target)
    assert error.value.signature is Signature.INFRASTRUCTURE
    needed = " or ".join(each.value for each in State if each in legal)
    assert str(error.value) == (
        f"{verb}: the guest is {state.value}, and must be {needed};"
        " the script is wrong, not the kernel"
    )


def test_nothing_is_typed_in_a_wrong_state() -> None:
    kernel = made_up()
    with booted(kernel) as target, pytest.raises(MachineryError):
        target.go()
    assert kernel.typed == []


def test_a_block_that_is_left_in_kdb_lacks_its_go() -> None:
    """Otherwise the command's end would be waited for, and the kernel blamed for a hang."""

    def forget(target: Target) -> None:
        with target.in_kdb() as kdb:
            point = kdb.breakpoint("f")
        with target.running("trigger"):
            target.expect_breakpoint(point)

    assert mistake_of(made_up(hit(F)), forget) == (
        "awaiting the end of the command 'trigger': the guest is stopped in kdb, and must be"
        " running a command or in gdb's hands or without kgdboc;"
        " the script is wrong, not the kernel"
    )


def test_two_commands_do_not_run_at_once() -> None:
    def both(target: Target) -> None:
        with target.without_kgdboc(), target.running("one"):
            target.run("two")

    assert mistake_of(made_up(end(), say("")), both) == (
        "running 'two': the command 'one' still runs"
    )


def test_the_states_that_a_conversation_goes_through() -> None:
    kernel = made_up(hit(F))
    seen = []
    with booted(kernel) as target:
        seen.append(target.state)
        with target.in_kdb() as kdb:
            seen.append(target.state)
            point = kdb.breakpoint("f")
        with target.running("trigger"):
            seen.append(target.state)
            target.expect_breakpoint(point)
            seen.append(target.state)
            target.go()
            seen.append(target.state)
        with target.without_kgdboc():
            seen.append(target.state)
        seen.append(target.state)
    assert seen == [SHELL, KDB, RUNNING, KDB, RUNNING, OFF, SHELL]


class Crashed(MadeUp):
    """A kernel that sysrq-c panics, and that is dead when it is let go."""

    def hear(self, typed: bytes) -> bytes:
        """Enter kdb at the panic and by BREAK; die at ``go``."""
        if typed.startswith(b"echo c"):
            banner = "Kernel panic - not syncing: sysrq triggered crash\n"
            return stop("Keyboard Entry", before=banner)(self).replace("\n", "\r\n").encode()
        if typed == b"g":
            return stop("Keyboard Entry")(self).replace("\n", "\r\n").encode()
        return b"Rebooting never\r\n" if typed == b"go\r" else b""


def test_a_crash_is_gone_after_go_and_still_hears_break() -> None:
    """Its last words are those of kernel/panic.c."""
    kernel = Crashed(symbols={"f": F}, words=WORDS)
    with machine_of(kernel) as machine:
        machine.send_break = lambda: None  # type: ignore[method-assign]  # g follows, on the line
        target = Target(machine, kernel.names)
        with target.provoking("Kernel panic"):
            target.crash("echo c > /proc/sysrq-trigger", "Keyboard Entry")
        seen = [target.state]
        target.go()
        seen.append(target.state)
        target.await_line("Rebooting never")
        target.break_in()
        seen.append(target.state)
    assert seen == [KDB, GONE, KDB]
