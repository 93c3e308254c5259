# SPDX-License-Identifier: GPL-2.0-only
"""How a path is shown."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from kstep.arm64.branch import decode
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import Stop
from kstep.hand.walk import Walk
from kstep.image.symbols import Symbols
from kstep.judge.stepper import End, Step, SteppedPath

F, HANDLER = 0xFFFF_8000_0800_0000, 0xFFFF_8000_0800_1000
SYMBOLS = Symbols((F, HANDLER), ("f", "el1_interrupt"), {"f": F, "el1_interrupt": HANDLER})
NOP, ERET, CBZ_BACK = 0xD503_201F, 0xD69F_03E0, 0xB4FF_FFE0
STOP = Stop("SS trap", F, 25, 0)


def step(number: int, pc: int, word: int, to: int, end: End | None = None) -> Step:
    """Make a step that should go on at the next instruction."""
    return Step(
        number,
        SYMBOLS.locate(pc),
        decode(word, pc),
        frozenset({pc + 4}),
        SYMBOLS.locate(to),
        STOP,
        cast("SteppedPath", SimpleNamespace(end=end)),
    )


def shown(*steps: Step, fault: KernelFault | None = None) -> Walk:
    """Make a walk through two lines of one file."""
    lines = {F: "a.c:1", F + 4: "a.c:1", F + 8: "a.c:2", HANDLER: "b.c:9"}
    return Walk(STOP, steps, fault, SYMBOLS, lines, {"a.c": ["one", "\ttwo"]})


def test_a_source_line_is_shown_once_and_a_branch_names_its_target() -> None:
    walk = shown(
        step(1, F, NOP, F + 4), step(2, F + 4, CBZ_BACK, F + 8), step(3, F + 8, NOP, F + 12)
    )
    assert [" ".join(line.split()) for line in walk.text()] == [
        "stopped at f, pid 25, CPU 0",
        "1 f nop a.c:1: one",
        "2 f+0x4 cbz x0, f a.c:1",
        "3 f+0x8 nop a.c:2: two",
    ]
    assert walk.ending == "3 steps in order"


def test_an_interrupt_is_marked_where_it_is_entered_and_within() -> None:
    fault = KernelFault(Signature.ENTERS_INTERRUPT, "it did")
    walk = shown(step(1, F, NOP, HANDLER), step(2, HANDLER, NOP, HANDLER + 4), fault=fault)
    text = walk.text()
    assert [line[0] for line in text[1:]] == ["!", "!", "i"]
    assert text[2].split(maxsplit=1)[1] == "enters an interrupt: el1_interrupt"
    assert walk.ending == "enters-interrupt: it did"


def test_what_is_no_interrupt_is_not_called_one() -> None:
    text = shown(step(1, F, NOP, F + 16), step(2, F + 16, NOP, F + 20)).text()
    assert text[2].split(maxsplit=1)[1] == "leaves program order: f+0x10"
    assert text[3][0] == " "


def test_the_end_of_a_path_says_why() -> None:
    end = End(decode(ERET, F + 4), "it returns")
    walk = shown(step(1, F, NOP, F + 4, end=end))
    assert walk.ending == "1 step in order, to the path's end: f+0x4 eret (it returns)"


def test_a_walk_that_never_began() -> None:
    hang = KernelFault(Signature.HANG, "nothing answers")
    walk = Walk(None, (), hang, SYMBOLS, {}, {})
    assert (walk.text(), walk.ending) == ([], "hang: nothing answers")
    assert shown().ending == "0 steps in order: the function's first instruction cannot be stepped"
