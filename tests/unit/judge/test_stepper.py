# SPDX-License-Identifier: GPL-2.0-only
"""Steps of a kernel that is made up: what is in order, what is not, and what gets nowhere."""

from __future__ import annotations

import json
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from kstep.base.outcome import KernelFault, Signature
from kstep.session.dialogue import Dialogue
from tests.unit.farend import MadeUp, booted, end, hit, say, step, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.judge.stepper import Step
    from kstep.session.target import Target
    from tests.unit.farend import Event

F = 0xFFFF_8000_0810_0000
G = 0xFFFF_8000_0811_0000
IRQ = 0xFFFF_8000_0822_F600
NOP = 0xD503_201F
RET = 0xD65F_03C0
ERET = 0xD69F_03E0
SVC = 0xD400_0001
MSR_DAIFSET_15 = 0xD503_4FDF
BLR_X3 = 0xD63F_0060
LDXR_W0_X1 = 0x885F_7C20
STXR_W2_W0_X1 = 0x8802_7C20
ADD_X7_X7_1 = 0x9100_04E7
LDR_W7_X1 = 0xB940_0027
MRS_X8_CNTVCT = 0xD53B_E048


def b(distance: int) -> int:
    """Encode a branch over so many instructions."""
    return 0x1400_0000 | distance & 0x3FF_FFFF


def cbnz_w2(distance: int) -> int:
    """Encode a branch where w2 is not 0."""
    return 0x3500_0002 | (distance & 0x7FFFF) << 5


def text(start: int, *words: int) -> dict[int, int]:
    """Lay instructions one behind the other."""
    return {start + 4 * n: word for n, word in enumerate(words)}


def made_up(words: dict[int, int], *steps: Event, **symbols: int) -> MadeUp:
    """Make a kernel whose breakpoint at f is hit, and which then is stepped like this."""
    return MadeUp(
        symbols={"f": F, **symbols},
        words=words,
        runs=[hit(F)],
        steps=iter(steps),
    )


@contextmanager
def at_f(kernel: MadeUp, trace: StringIO | None = None) -> Iterator[Target]:
    """Stop at the breakpoint at f; afterwards the command goes on to its end."""
    with booted(kernel, trace=trace) as target:
        with target.in_kdb() as kdb:
            point = kdb.breakpoint("f")
        with target.running("trigger"):
            target.expect_breakpoint(point)
            yield target
            target.go()


def walk(kernel: MadeUp, count: int = 300) -> list[Step]:
    """Step and let nothing pass."""
    steps = []
    with at_f(kernel) as target:
        for each in target.steps(count):
            each.must_follow_program_order()
            each.must_make_progress()
            steps.append(each)
    return steps


def fault_of(kernel: MadeUp, count: int = 300) -> KernelFault:
    """Step until it goes wrong."""
    with pytest.raises(KernelFault) as fault:
        walk(kernel, count)
    return fault.value


# -- in order


def test_steps_in_order_are_counted_and_written_down() -> None:
    trace = StringIO()
    kernel = made_up(text(F, NOP, b(2), NOP, ERET), step(F + 4), step(F + 12))
    with at_f(kernel, trace) as target:
        places = [str(each.after) for each in target.steps(300)]
        metrics = target.metrics
    assert places == ["f+0x4", "f+0xc"]
    assert metrics.pop("steps_per_second") > 0
    assert metrics == {
        "steps": 2,
        "in_order": 2,
        "off_order": 0,
        "irq_entries": 0,
        "distinct_pcs": 2,
    }
    first, second = map(json.loads, trace.getvalue().splitlines())
    assert first.pop("seconds") >= 0
    assert first == {
        "n": 1,
        "pc": f"{F:#x}",
        "at": "f",
        "word": f"{NOP:08x}",
        "flow": "sequential",
        "expected": [f"{F + 4:#x}"],
        "to": f"{F + 4:#x}",
        "to_at": "f+0x4",
        "reason": "SS trap",
        "pid": 23,
        "cpu": 0,
        "in_order": True,
    }
    assert (second["n"], second["flow"], second["to_at"]) == (2, "branch", "f+0xc")


@pytest.mark.parametrize(
    ("last", "why"),
    [(ERET, "returns from an exception"), (SVC, "by design"), (MSR_DAIFSET_15, "masks debug")],
)
def test_a_path_ends_before_it_leaves_the_kernel(last: int, why: str) -> None:
    steps = walk(made_up(text(F, NOP, NOP, last), step(F + 4), step(F + 8)))
    assert len(steps) == 2
    end = steps[-1].path.end
    assert end is not None
    assert end.instruction.word == last
    assert why in end.why


def test_a_path_ends_before_what_is_due_on_the_way_to_user_space() -> None:
    """There the kernel schedules, and complains, for kgdb holds a lock."""
    words = text(F, NOP, b(3)) | text(F + 16, NOP)
    kernel = made_up(words, step(F + 4), step(F + 16), do_notify_resume=F + 16)
    steps = walk(kernel)
    assert [each.after.symbol for each in steps] == ["f", "do_notify_resume"]
    end = steps[-1].path.end
    assert end is not None
    assert "schedule()" in end.why


def test_a_path_that_begins_there_is_stepped() -> None:
    kernel = made_up(text(F, NOP, NOP, ERET), step(F + 4), step(F + 8), do_notify_resume=F)
    assert len(walk(kernel)) == 2


def test_no_more_steps_are_taken_than_asked_for() -> None:
    assert len(walk(made_up(text(F, NOP, NOP, NOP), step(F + 4), step(F + 8)), count=2)) == 2


@pytest.mark.parametrize(
    ("word", "registers", "after"),
    [
        (cbnz_w2(4), {"x2": 1}, F + 16),
        (cbnz_w2(4), {"x2": 1 << 32}, F + 4),
        (BLR_X3, {"x3": G}, G),
        (RET, {"x30": G + 8}, G + 8),
    ],
)
def test_registers_decide_where_a_branch_must_go(
    word: int, registers: dict[str, int], after: int
) -> None:
    kernel = made_up({F: word, after: ERET}, step(after))
    kernel.registers = registers
    assert [each.expected for each in walk(kernel)] == [{after}]


def test_a_register_that_the_step_changed_is_the_kernels_fault() -> None:
    """The branch went where the register leads that an interrupt has left behind."""

    def interrupted(kernel: MadeUp) -> str:
        kernel.registers = {"x2": 1}
        return step(F + 16)(kernel)

    words = text(F, cbnz_w2(4), *[NOP] * 8)
    kernel = made_up(words, interrupted, *(step(F + at) for at in (20, 24, 28)))
    kernel.registers = {"x2": 0}
    fault = fault_of(kernel)
    assert fault.signature is Signature.OFF_ORDER
    assert str(fault).startswith("step 1 from f went to f+0x10, not to f+0x4")


@pytest.mark.parametrize(
    ("function", "returned"),
    [("g", True), ("__asan_load4", False), ("kasan_check_range", False)],
)
def test_a_return_from_what_the_compiler_calls_halfway_is_none(
    function: str, *, returned: bool
) -> None:
    """Between the load and the store of a count, with KASAN, `go` would do harm."""
    words = text(F, BLR_X3, NOP) | text(G, RET)
    kernel = made_up(words, step(G), step(F + 4), **{function: G})
    kernel.registers |= {"x3": G, "x30": F + 4}
    assert [each.returned for each in walk(kernel, 2)] == [False, returned]


def test_text_that_was_patched_meanwhile_is_read_again() -> None:
    """A static key turned the NOP into a branch while the interrupt was handled."""

    def patched(kernel: MadeUp) -> str:
        kernel.words[F + 4] = b(3)
        return step(F + 16)(kernel)

    steps = walk(made_up(text(F, NOP, NOP, NOP, NOP, ERET), step(F + 4), patched))
    assert [each.instruction.word for each in steps] == [NOP, b(3)]


# -- out of order


def test_the_same_place_again_and_again_is_stuck() -> None:
    words = text(F, NOP) | text(IRQ + 0x1C, NOP)
    fault = fault_of(made_up(words, *[step(IRQ + 0x1C)] * 4, el1_interrupt=IRQ))
    assert fault.signature is Signature.STUCK
    assert str(fault) == ("step 1 from f went to el1_interrupt+0x1c, not to f+0x4, and stays there")


def test_a_step_that_does_not_move_is_stuck() -> None:
    """Whatever becomes of it later."""
    kernel = made_up(text(F, NOP, NOP, NOP, NOP), *(step(F + n) for n in (0, 4, 8, 12)))
    assert fault_of(kernel).signature is Signature.STUCK


# Of entry.S and entry-common.c, and the interrupt controller's, from 5.10 to 6.12.
@pytest.mark.parametrize(
    "name",
    [
        "el1_irq",
        "el0_irq_naked",
        "el1h_64_irq",
        "el1h_64_irq_handler",
        "el1h_64_fiq",
        "el0t_64_irq_handler",
        "el0t_32_irq",
        "el1_interrupt",
        "el0_interrupt",
        "__el1_irq",
        "__el1_pnmi",
        "gic_handle_irq",
        "__gic_handle_irq_from_irqson",
        "call_on_irq_stack",
    ],
)
def test_an_interrupt_is_told_by_its_name(name: str) -> None:
    words = text(F, NOP) | text(IRQ + 0x1C, NOP, NOP, NOP, NOP)
    steps = [step(IRQ + 0x1C + 4 * n) for n in range(4)]
    fault = fault_of(made_up(words, *steps, **{name: IRQ}))
    assert fault.signature is Signature.ENTERS_INTERRUPT
    assert str(fault) == (
        f"step 1 from f went to {name}+0x1c, not to f+0x4,"
        f" and then to {name}+0x20, {name}+0x24, {name}+0x28"
    )


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("vectors", Signature.ENTERS_EXCEPTION),
        ("el1h_64_sync", Signature.ENTERS_EXCEPTION),
        ("el1h_64_sync_handler", Signature.ENTERS_EXCEPTION),
        ("el1_dbg", Signature.ENTERS_EXCEPTION),
        ("el1_abort", Signature.ENTERS_EXCEPTION),
        ("do_mem_abort", Signature.ENTERS_EXCEPTION),
        ("do_debug_exception", Signature.ENTERS_EXCEPTION),
        ("ret_to_user", Signature.ENTERS_EXCEPTION),
        ("schedule", Signature.OFF_ORDER),
        ("generic_handle_domain_irq", Signature.OFF_ORDER),
        ("request_threaded_irq", Signature.OFF_ORDER),
        ("f", Signature.OFF_ORDER),
    ],
)
def test_every_other_departure_is_told_by_its_name(name: str, signature: Signature) -> None:
    words = text(F, *[NOP] * 20) | text(IRQ, *[NOP] * 20)
    start = (F if name == "f" else IRQ) + 0x1C
    symbols = {} if name == "f" else {name: IRQ}
    steps = [step(start + 4 * n) for n in range(4)]
    assert fault_of(made_up(words, *steps, **symbols)).signature is signature


def test_interrupts_are_counted() -> None:
    words = text(F, NOP) | text(IRQ, NOP, NOP, NOP, NOP)
    kernel = made_up(words, *(step(IRQ + 4 * n) for n in range(4)), el1_interrupt=IRQ)
    with at_f(kernel) as target:
        for each in target.steps(300):
            with pytest.raises(KernelFault):
                each.must_follow_program_order()
            break
    assert target.metrics["irq_entries"] == 1
    assert target.metrics["off_order"] == 1
    assert target.metrics["in_order"] == 3


def test_a_departure_into_nothing_is_the_kernels_fault() -> None:
    """The PC that a wild branch leads to cannot be read; that is no error of the machinery."""
    fault = fault_of(made_up(text(F, NOP), step(0xDEAD_0000)))
    assert fault.signature is Signature.OFF_ORDER
    assert "step 1 from f went to 0xdead0000, not to f+0x4" in str(fault)


def test_a_return_into_nothing_is_the_kernels_fault_too() -> None:
    """It is in order, for the register holds that address; but nobody called from there."""
    kernel = made_up(text(F, RET), step(0))
    kernel.registers = {"x30": 0}
    fault = fault_of(kernel)
    assert fault.signature is Signature.OFF_ORDER
    assert "leads to 0x0, which is not mapped" in str(fault)


@pytest.mark.parametrize("then", [end(), say("")])
def test_a_departure_stays_one_where_no_step_comes_back_from_it(
    then: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dialogue.listen, "__defaults__", (0.8,))
    words = text(F, NOP) | text(IRQ, NOP)
    fault = fault_of(made_up(words, step(IRQ), then, el1_interrupt=IRQ))
    assert fault.signature is Signature.ENTERS_INTERRUPT
    assert "went to el1_interrupt, not to f+0x4" in str(fault)
    assert "never came back" in str(fault)


def test_a_stop_for_another_reason_is_told() -> None:
    words = text(F, *[NOP] * 20)
    steps = [stop("Breakpoint", F + 0x20), *(step(F + 0x20 + 4 * n) for n in range(1, 4))]
    assert "went to f+0x20 (Breakpoint), not to f+0x4" in str(fault_of(made_up(words, *steps)))


# -- getting on


def round_and_round(words: tuple[int, ...], rounds: int, **changes: int) -> MadeUp:
    """Make a kernel that goes round a loop; ``changes`` is what a round adds to a register."""
    length = len(words)

    def steps() -> Iterator[Event]:
        for n in range(rounds):
            values = {name: n * by for name, by in changes.items()}
            for at in range(1, length):
                yield step(F + 4 * at, x2=1, **values)
            yield step(F, x2=1, **values)
        yield from (step(F + 4 * at, x2=0) for at in range(1, length + 1))

    kernel = made_up(text(F, *words, ERET))
    kernel.steps = steps()
    return kernel


EXCLUSIVE = (LDXR_W0_X1, STXR_W2_W0_X1, cbnz_w2(-2))


def test_an_exclusive_pair_that_goes_round_for_ever_is_a_livelock() -> None:
    fault = fault_of(round_and_round(EXCLUSIVE, 100))
    assert fault.signature is Signature.LIVELOCK
    assert str(fault).endswith(
        "the last 8 with the same registers:"
        " an exclusive load/store pair, whose monitor every step clears"
    )


def test_a_loop_that_waits_is_a_livelock_of_another_kind() -> None:
    """For what a parked processor never does, say."""
    fault = fault_of(round_and_round((NOP, cbnz_w2(-1)), 100))
    assert fault.signature is Signature.LIVELOCK
    assert str(fault).endswith("with the same registers")


COUNTS = (ADD_X7_X7_1, cbnz_w2(-1))
READS = (LDR_W7_X1, cbnz_w2(-1))
READS_CLOCK = (LDR_W7_X1, MRS_X8_CNTVCT, cbnz_w2(-2))


def test_a_loop_that_only_reads_what_others_write_is_a_livelock() -> None:
    """A seqcount's reader, of which the tick writes the count: no two rounds read the same."""
    fault = fault_of(round_and_round(READS, 100, x7=2))
    assert fault.signature is Signature.LIVELOCK
    assert "rounds are independent of each other" in str(fault)


def test_a_loop_that_reads_a_clock_has_longer() -> None:
    """It may be a delay, which ends by itself."""
    fault = fault_of(round_and_round(READS_CLOCK, 600, x7=2, x8=9), count=1000)
    assert fault.signature is Signature.LIVELOCK
    assert len(walk(round_and_round(READS_CLOCK, 200, x7=2, x8=9), count=1000)) == 603


@pytest.mark.parametrize("words", [EXCLUSIVE, COUNTS, (*[ADD_X7_X7_1] * 40, cbnz_w2(-40))])
def test_a_loop_that_changes_a_register_gets_on(words: tuple[int, ...]) -> None:
    rounds = 300 // len(words)
    assert len(walk(round_and_round(words, rounds, x7=1), count=301)) == min(
        301, (rounds + 1) * len(words)
    )


def test_three_hundred_rounds_are_no_livelock() -> None:
    assert len(walk(round_and_round(COUNTS, 300, x7=1), count=1000)) == 602


def test_an_exclusive_pair_that_gets_through_at_last_is_none() -> None:
    assert len(walk(round_and_round(EXCLUSIVE, 15))) == 48


def test_a_function_that_is_called_often_from_elsewhere_is_none() -> None:
    """It is the rounds of one loop that count, and not how often a place was seen."""
    body = [F + 4 * n for n in range(80)]  # longer than a loop that is watched
    words = text(F, *[NOP] * 79, b(-79))

    def steps() -> Iterator[Event]:
        for _ in range(30):
            yield from (step(at) for at in (*body[1:], F))

    kernel = made_up(words)
    kernel.steps = steps()
    assert len(walk(kernel, count=2400)) == 2400


def test_a_straight_path_costs_no_look_at_the_registers() -> None:
    kernel = made_up(text(F, *[NOP] * 100, ERET), *(step(F + 4 * n) for n in range(1, 101)))
    walk(kernel)
    assert kernel.typed.count("rd") == 1  # at the breakpoint


# -- metrics of a cell


def test_several_paths_of_a_cell_are_counted_together() -> None:
    kernel = made_up(text(F, NOP, NOP, NOP, ERET), *(step(F + at) for at in (4, 8, 4, 8, 12)))
    kernel.runs = [hit(F), end(), hit(F)]
    with booted(kernel) as target:
        with target.in_kdb() as kdb:
            point = kdb.breakpoint("f")
        for count in (2, 300):
            with target.running("trigger"):
                target.expect_breakpoint(point)
                list(target.steps(count))
                target.go()
    rate = target.metrics.pop("steps_per_second")
    assert rate > 0
    assert target.metrics == {
        "steps": 5,
        "in_order": 5,
        "off_order": 0,
        "irq_entries": 0,
        "distinct_pcs": 3,
    }
