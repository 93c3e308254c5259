# SPDX-License-Identifier: GPL-2.0-only
"""A line that lies costs verdicts and never makes one: conversations counted, from a seed."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from tests.noise.noise import Noise
from tests.noise.simulation import over_noise
from tests.unit.farend import MadeUp, end, hit, say, step, stop
from tests.unit.session.conversations import step_twice

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.farend import Event

F, G, IRQ = 0xFFFF_8000_0810_0000, 0xFFFF_8000_0811_0000, 0xFFFF_8000_0820_0000
NOP, CBZ, RET, ERET = 0xD503201F, 0xB4000040, 0xD65F03C0, 0xD69F03E0
WORDS = {F: NOP, F + 4: CBZ, F + 12: RET, G: NOP, G + 4: NOP, IRQ: NOP, G + 8: ERET}
MESSAGE = "[   20.444695] ttyAMA ttyAMA0: 1 input overrun(s)\n"
ORDER = (step(F + 4), step(F + 12), step(G + 4))
SEED = 13
NOISES = (
    Noise(lose=1 / 300),
    Noise(lose=1 / 1000, burst=8),
    Noise(change=1 / 300),
    Noise(double=1 / 300),
    Noise(lose=1 / 600, double=1 / 600, change=1 / 600, burst=3),
)
QUIET = Noise()


def made_up(*runs: Event, steps: tuple[Event, ...] = ORDER) -> MadeUp:
    """Make a kernel that steps as told, and then in one place for ever."""
    return MadeUp(
        symbols={"f": F, "g": G, "el1_interrupt": IRQ},
        words=dict(WORDS),
        runs=list(runs),
        steps=itertools.chain(steps, itertools.repeat(step(IRQ + 4))),
        registers={"x0": 0, "x30": G + 4},
    )


KERNELS: dict[str, tuple[Callable[[], MadeUp], str]] = {
    "good": (lambda: made_up(hit(F)), "pass"),
    "good and talks": (
        lambda: made_up(hit(F), end(before=MESSAGE), steps=(step(F + 4), *ORDER[1:])),
        "pass",
    ),
    "interrupt": (lambda: made_up(hit(F), steps=(step(IRQ), step(IRQ + 4))), "enters-interrupt"),
    "stuck": (lambda: made_up(hit(F), steps=(step(F),) * 5), "stuck"),
    "off": (lambda: made_up(hit(F), steps=(step(F + 4), step(G), step(G + 4))), "off-order"),
    "runs on": (lambda: made_up(hit(F), steps=(step(F + 4), end())), "runaway"),
    "gone": (lambda: made_up(hit(F), steps=(say(""),)), "runaway"),
    "hit again": (lambda: made_up(hit(F), hit(F), hit(F), hit(F), hit(F)), "rehit"),
    "not hit": (lambda: made_up(end()), "missed-hits"),
    "status": (lambda: made_up(hit(F), end(1)), "wrong-result"),
    "oops": (lambda: made_up(hit(F), steps=(stop("oops", G),)), "off-order"),
}


def outcome(kernel: MadeUp, to: Noise, back: Noise) -> str:
    """Return what a conversation comes to: a verdict, or what became of it."""
    try:
        with over_noise(kernel, to, back) as target:
            step_twice(target, 3)
    except KernelFault as fault:
        return fault.signature.value
    except MachineryError as error:
        return error.signature.value
    return "pass"


@pytest.mark.parametrize("name", KERNELS)
def test_without_noise_each_is_what_it_is(name: str) -> None:
    kernel, wanted = KERNELS[name]
    assert outcome(kernel(), QUIET, QUIET) == wanted


def count(times: int, seed: int) -> Counter[str]:
    """Have so many conversations; none of them may come to another verdict."""
    found: Counter[str] = Counter()
    kernels = itertools.cycle(KERNELS.values())
    for number, (kernel, wanted) in zip(range(times), kernels, strict=False):
        noise = NOISES[number // len(KERNELS) % len(NOISES)]
        to = replace(noise, seed=2 * (seed + number))
        back = replace(noise, seed=2 * (seed + number) + 1)
        came = outcome(kernel(), to, back)
        assert came in (wanted, Signature.CONSOLE_LOST), f"{number} ({wanted}, {noise}): {came}"
        found[came if came == Signature.CONSOLE_LOST else "verdict"] += 1
    return found


def test_some_conversations_over_noise() -> None:
    found = count(2000, SEED)
    assert found["verdict"] > 0.8 * found.total()


@pytest.mark.nightly
def test_many_conversations_over_noise() -> None:
    found = count(100_000, SEED)
    assert found["verdict"] > 0.8 * found.total()


@dataclass
class EnterChanged(Noise):
    """The first Enter becomes ^C, which has the terminal drop the line."""

    def through(self, data: bytes) -> bytes:
        """Pass bytes on."""
        if data == b"\n" and not self.faults:
            self.faults += 1
            return b"\x03"
        return data


def test_a_command_that_never_ran_is_lost() -> None:
    """The shell answers, so the kernel does not hang."""
    with over_noise(made_up(hit(F)), EnterChanged(), QUIET) as target:
        with pytest.raises(MachineryError, match="the shell did not run 'echo g") as lost:
            step_twice(target, 3)
        assert lost.value.signature is Signature.CONSOLE_LOST


@dataclass
class GoEntered(Noise):
    """The blank behind `go` becomes Enter."""

    def through(self, data: bytes) -> bytes:
        """Pass bytes on."""
        return data.replace(b"go ", b"go\r")


def test_a_go_that_was_entered_too_early_is_no_hang() -> None:
    with over_noise(made_up(hit(F)), GoEntered(), QUIET) as target:
        with pytest.raises(MachineryError, match="'go ' ran before Enter was sent") as lost:
            step_twice(target, 3)
        assert lost.value.signature is Signature.CONSOLE_LOST


@given(
    st.sampled_from(sorted(KERNELS)),
    st.sampled_from(NOISES),
    st.sampled_from(NOISES),
    st.integers(0, 1 << 32),
)
@settings(max_examples=200, deadline=None)
def test_whatever_the_line_does(name: str, to: Noise, back: Noise, seed: int) -> None:
    kernel, wanted = KERNELS[name]
    came = outcome(kernel(), replace(to, seed=seed), replace(back, seed=seed + 1))
    assert came in (wanted, Signature.CONSOLE_LOST)
