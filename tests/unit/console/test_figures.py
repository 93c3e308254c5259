# SPDX-License-Identifier: GPL-2.0-only
"""The numbers that a guest program reports on a line that the kernel writes to as well."""

from __future__ import annotations

import pytest

from kstep.base.errors import MachineryError
from kstep.console.shell import CommandResult

MESSAGE = "[    2.776247] hrtimer: interrupt took 3580496 ns\n"


def test_reads_the_line_among_others() -> None:
    answer = CommandResult(0, f"{MESSAGE}woken=329 due=500 worst_us=57595 change=-3\n{MESSAGE}")
    assert answer.figures == {"woken": 329, "due": 500, "worst_us": 57595, "change": -3}


@pytest.mark.parametrize("cut", range(len("calls=4353 hits=17\n") + 1))
def test_a_message_that_cuts_the_line_is_taken_out(cut: int) -> None:
    line = "calls=4353 hits=17\n"
    answer = CommandResult(0, line[:cut] + MESSAGE * 2 + line[cut:])
    assert answer.figures == {"calls": 4353, "hits": 17}


def test_no_figures_is_an_error() -> None:
    with pytest.raises(MachineryError):
        _ = CommandResult(0, "sh: hits: not found\n").figures


@pytest.mark.parametrize("cut", range(4))
def test_what_a_program_said_is_without_the_kernel_s_messages(cut: int) -> None:
    """Wherever one came: a machine that stalls has the kernel speak of its interrupts."""
    line = "938\n"
    answer = CommandResult(0, line[:cut] + MESSAGE + line[cut:])
    assert answer.text == line
    assert MESSAGE in answer.heard
