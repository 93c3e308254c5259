# SPDX-License-Identifier: GPL-2.0-only
"""The verbs of a session, against conversations that real kernels had."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kstep.base.outcome import KernelFault, Signature
from kstep.session import dialogue
from kstep.session.target import Target
from tests.unit.farend import FakeMachine, Recording, line_to, pieces

if TYPE_CHECKING:
    from collections.abc import Callable


def replay(name: str, script: Callable[[Target], None], sizes: list[int]) -> tuple[str, ...]:
    """Run a script against a recording cut into pieces; give signature and message."""
    recording = Recording.load(name)
    with (
        pytest.MonkeyPatch.context() as patch,
        line_to(recording, pieces(sizes), packets=True) as console,
    ):
        patch.setattr(dialogue, "_numbers", count(recording.first_number))
        patch.setattr(dialogue, "TICKS", 0.0)
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
    " 3 more `go` hit it 3 more times"
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
