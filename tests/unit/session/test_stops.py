# SPDX-License-Identifier: GPL-2.0-only
"""Stops: the one that is waited for, and what another one means."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.machine.capability import Capability, Offer
from kstep.session.dialogue import State
from kstep.session.target import Target
from tests.unit.farend import (
    FakeMachine,
    booted,
    byte_by_byte,
    end,
    hit,
    line_to,
    say,
    step,
    stop,
    whole,
)
from tests.unit.session.conversations import (
    F,
    G,
    fault_of,
    go_past,
    made_up,
    mistake_of,
    step_twice,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.farend import Event, MadeUp


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


def test_no_hit_is_missed_hits() -> None:
    fault = fault_of(made_up())
    assert fault.signature is Signature.MISSED_HITS
    assert str(fault) == (
        "the command ended with status 0 and there was no stop for Breakpoint at f"
    )


class Watching(FakeMachine):
    """A machine that knows what its guest executes."""

    executes: frozenset[int] = frozenset()

    @property
    def offer(self) -> Offer:
        """It can do that, too."""
        offer = super().offer
        return replace(offer, capabilities=offer.capabilities | {Capability.EXECUTION_LOG})

    @contextmanager
    def executed(self) -> Iterator[set[int]]:
        """It is always the same."""
        yield set(self.executes)


def missed(kernel: MadeUp, executes: set[int]) -> tuple[Signature | None, str]:
    """Go past a breakpoint that is not hit; return what is said of it."""
    with line_to(kernel) as console:
        machine = Watching(console, kernel.words)
        machine.scale = 0.08
        machine.executes = frozenset(executes)
        try:
            go_past(Target(machine, kernel.names))
        except (KernelFault, MachineryError) as error:
            return error.signature, str(error)
    return None, ""


@pytest.mark.parametrize(
    ("again", "executes"),
    [(end(), {F}), (hit(F), set()), (say(""), set())],
    ids=["runs", "is hit", "hangs"],
)
def test_a_function_that_runs_without_a_stop_is_missed(again: Event, executes: set[int]) -> None:
    signature, said = missed(made_up(end(), again), executes)
    assert signature is Signature.MISSED_HITS
    assert said == "the command ended with status 0 and there was no stop for Breakpoint at f"


def test_a_function_that_does_not_run_is_no_verdict() -> None:
    signature, said = missed(made_up(end(), end()), {G})
    assert signature is Signature.INFRASTRUCTURE
    assert said.startswith("'trigger' does not lead to f in this kernel, so nothing was tested")


def test_a_trigger_that_is_silent_hangs() -> None:
    fault = fault_of(made_up(say("")), scale=0.08)
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
    assert str(fault).endswith(f"3 more `go` hit it {hits} more times")


@pytest.mark.parametrize(
    ("after", "what"),
    [(say(""), "no breakpoint or the command's end within 0.8 s"), (say("BUG: x\n"), "BUG: x")],
)
def test_a_rehit_stays_one_whatever_comes_of_it(after: Event, what: str) -> None:
    fault = fault_of(made_up(hit(F), hit(F), hit(F), after), scale=0.08)
    assert fault.signature is Signature.REHIT
    assert str(fault).endswith(f"hit it 1 more times; then: {what}")


def test_other_registers_are_a_double_hit() -> None:
    """The function was reached twice, and there was one trigger."""
    fault = fault_of(made_up(hit(F, x0=1), hit(F, x0=2)))
    assert fault.signature is Signature.DOUBLE_HITS
    assert str(fault) == "f is hit again, with other registers than before"


@pytest.mark.parametrize(
    ("event", "signature", "message"),
    [
        (hit(G), Signature.OFF_ORDER, "an unknown breakpoint is hit at g"),
        (step(G), Signature.STEP_FLOOD, "a step that was not requested stops at g"),
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


def test_a_step_that_never_comes_back_runs_away() -> None:
    fault = fault_of(made_up(hit(F), steps=(step(F + 4), say(""))), step_twice, 0.08)
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


def test_steps_before_any_stop_are_a_mistake_of_the_script() -> None:
    """A boot that waits is stopped in kdb before anything was asked of it."""

    def step_first(target: Target) -> None:
        target._dialogue._debugger = State.KDB
        next(target.steps(1))

    assert "before the kernel has stopped" in mistake_of(made_up(), step_first)


def test_where_a_step_goes_on_from_a_breakpoint_that_is_compiled_in() -> None:
    """Kdb names no place of sysrq-g's, and goes on behind its BRK."""
    kernel = made_up(steps=(step(F + 8),))
    kernel.words[F] = 0xD420_8020  # brk #0x401: KGDB_COMPILED_DBG_BRK_IMM
    kernel.registers["pc"] = F
    with booted(kernel) as target, target.in_kdb():
        (only,) = target.steps(1)
        assert (only.before.address, only.after.address) == (F + 4, F + 8)


def go_to_the_wanted(target: Target, wanted: list[bool]) -> None:
    """Go from the breakpoint at f to its next hit for which ``wanted`` has True."""
    answers = iter(wanted)
    with target.in_kdb() as kdb:
        point = kdb.breakpoint("f")
    with target.running("trigger"):
        target.expect_breakpoint(point)
        target.go_until(point, lambda: next(answers), len(wanted))
        target.go()


def test_the_stop_that_is_wanted_is_not_the_first() -> None:
    kernel = made_up(hit(F, x0=1), hit(F, x0=2), hit(F, x0=3), hit(F, x0=4))
    with booted(kernel) as target:
        go_to_the_wanted(target, [False, False, True])
    assert kernel.typed.count("go") == 5


def test_the_same_stop_again_and_again_is_a_rehit() -> None:
    kernel = made_up(*[hit(F, x0=1)] * 30)
    fault = fault_of(kernel, lambda target: go_to_the_wanted(target, [False] * 30))
    assert fault.signature is Signature.REHIT
    assert str(fault) == "go from f hit there 20 times more"


def test_if_no_stop_is_wanted_there_is_no_verdict() -> None:
    hits = [hit(F, x0=number) for number in range(4)]
    said = mistake_of(made_up(*hits), lambda target: go_to_the_wanted(target, [False] * 3))
    assert said == "none of 3 stops at f is the one that is wanted"
