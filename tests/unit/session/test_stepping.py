# SPDX-License-Identifier: GPL-2.0-only
"""Steps of a script: to a return, over a BRK, past a mask, and walked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.session.stepping import LEAD
from tests.unit.farend import MadeUp, booted, end, hit, step
from tests.unit.session.conversations import NOP, RET, WORDS, F, G, made_up, step_twice

if TYPE_CHECKING:
    from kstep.session.stepping import Walk
    from kstep.session.target import Target
    from tests.unit.farend import Event

BRK = 0xD421_0000  # brk #0x800: BUG_BRK_IMM
IRQ = 0xFFFF_8000_0812_0000


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


def test_after_a_fault_the_metrics_are_there() -> None:
    with pytest.raises(KernelFault), booted(made_up(hit(F), steps=(step(F + 4), end()))) as target:
        step_twice(target)
    assert target.metrics["steps"] == 1


# -- over a BRK


def over_brk(target: Target) -> None:
    """Step from f to the BRK behind it, and over that."""
    with target.stopped_at("f", "trigger"):
        target.step_to(F + 4, 10)
        target.step_over_brk(F + 4)


def with_brk(*steps: Event) -> MadeUp:
    """Make a kernel whose f has a BRK as its second instruction."""
    words = {F: NOP, F + 4: BRK, F + 8: NOP, F + 12: NOP}
    symbols = {"f": F, "g": G, "el1_interrupt": IRQ}
    return MadeUp(symbols=symbols, words=words, runs=[hit(F), end()], steps=iter(steps))


@pytest.mark.parametrize(("ends", "unseen"), [(F + 8, 0), (F + 12, 1)])
def test_a_step_over_a_brk_ends_behind_it_or_one_further(ends: int, unseen: int) -> None:
    with booted(with_brk(step(F + 4), step(ends))) as target:
        over_brk(target)
    assert target.metrics["unseen_instructions"] == unseen


@pytest.mark.parametrize("ends", [F + 4, G, IRQ])
def test_a_step_over_a_brk_that_ends_elsewhere_is_off_order(ends: int) -> None:
    with (
        pytest.raises(KernelFault, match=r"the step over the BRK at f\+0x4 ended at") as fault,
        booted(with_brk(step(F + 4), step(ends))) as target,
    ):
        over_brk(target)
    assert fault.value.signature is Signature.OFF_ORDER


def test_a_path_that_ends_before_the_brk_is_no_verdict() -> None:
    def short(target: Target) -> None:
        with target.stopped_at("f", "trigger"):
            target.step_to(F + 4, 0)

    with (
        pytest.raises(MachineryError, match=r"does not end at f\+0x4"),
        booted(with_brk()) as target,
    ):
        short(target)


# -- past a mask


@pytest.mark.parametrize(
    ("ends", "found"), [((F + 4, G), G), ((G,), G)], ids=["as QEMU does", "as it should be"]
)
def test_a_step_past_a_mask_is_made_again_if_it_ends_right_behind(
    ends: tuple[int, ...], found: int
) -> None:
    kernel = made_up(hit(F), steps=tuple(map(step, ends)))
    with booted(kernel) as target, target.stopped_at("f", "trigger") as at:
        assert target.step_past_mask(target.locate(at.stop)).address == found


# -- walked again


def walk_with(target: Target, seen: list[Walk]) -> None:
    """Walk two steps of f, again and again if an interrupt comes."""
    for walk in target.walks():
        seen.append(walk)
        with target.stopped_at("f", "trigger"):
            for each in target.steps(2):
                if walk.met_interrupt(each):
                    break


def walked(*ways: tuple[int, ...]) -> MadeUp:
    """Make a kernel whose steps go these ways, walk by walk."""
    events = tuple(step(pc) for way in ways for pc in way)
    runs = [each for _ in ways for each in (hit(F), end())]
    words = {**WORDS, **{IRQ + 4 * n: NOP for n in range(8)}, **{G + 4 * n: NOP for n in range(8)}}
    symbols = {"f": F, "g": G, "el1_interrupt": IRQ}
    return MadeUp(symbols=symbols, words=words, runs=runs, steps=iter(events))


GOOD = (F + 4, F + 8)
MET = (F + 4, IRQ, IRQ + 4, IRQ + 8, IRQ + 12)  # and three more, to tell where it leads
ELSEWHERE = (G, G + 4, G + 8, G + 12)


@pytest.mark.parametrize(
    ("ways", "windows"),
    [
        ((GOOD,), 0),
        ((MET, GOOD, GOOD), 1),
        ((MET, GOOD, MET, GOOD, GOOD), 2),
        ((*[MET] * (LEAD - 1), *[GOOD] * LEAD), LEAD - 1),
    ],
)
def test_a_path_is_walked_again_after_an_interrupt(
    ways: tuple[tuple[int, ...], ...], windows: int
) -> None:
    seen: list[Walk] = []
    with booted(walked(*ways)) as target:
        walk_with(target, seen)
    assert target.metrics["windows"] == windows
    assert [str(each.before) for each in seen[-1].earlier] == ["f+0x4"] * windows
    assert len(seen) == len(ways)


@pytest.mark.parametrize("ways", [[MET] * LEAD, [MET, MET, GOOD, *[MET] * (LEAD - 1)]])
def test_an_interrupt_in_most_walks_is_a_fault(ways: list[tuple[int, ...]]) -> None:
    seen: list[Walk] = []
    windows = ways.count(MET)
    with (
        pytest.raises(
            KernelFault, match=f"in {windows} of {len(ways)} walks.* step 2 from f"
        ) as fault,
        booted(walked(*ways)) as target,
    ):
        walk_with(target, seen)
    assert fault.value.signature is Signature.ENTERS_INTERRUPT
    assert target.metrics["windows"] == windows
    assert len(seen) == len(ways)


def test_another_departure_is_a_fault_at_once() -> None:
    seen: list[Walk] = []
    with pytest.raises(KernelFault) as fault, booted(walked(ELSEWHERE, GOOD)) as target:
        walk_with(target, seen)
    assert fault.value.signature is Signature.OFF_ORDER
    assert len(seen) == 1


def test_an_interrupt_at_a_brk_is_a_window_of_its_walk() -> None:
    good = step(F + 4), step(F + 8)
    kernel = with_brk(step(F + 4), step(IRQ), *good, *good)
    kernel.runs += [hit(F), end()] * 2
    went = []
    with booted(kernel) as target:
        for walk in target.walks():
            with target.stopped_at("f", "trigger"):
                target.step_to(F + 4, 10)
                went.append(target.step_over_brk(F + 4, walk))
    assert went == [False, True, True]
    assert target.metrics["windows"] == 1
