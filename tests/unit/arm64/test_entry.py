# SPDX-License-Identifier: GPL-2.0-only
"""Where the kernel is entered, by names as compilers of several versions leave them."""

from __future__ import annotations

import pytest

from kstep.arm64.entry import EXCEPTION, WORK, entered_by, is_interrupt, is_work
from kstep.image.symbols import CodeAddress


def places(*symbols: str) -> list[CodeAddress]:
    """Make places somewhere in these functions."""
    return [CodeAddress(0x1000 * number, symbol, 0x20) for number, symbol in enumerate(symbols)]


@pytest.mark.parametrize(
    ("stack", "by"),
    [
        # 6.1, with local_daif_inherit() inlined and without
        (("el1_abort", "el1h_64_sync_handler", "el1h_64_sync", "get_user"), "sync"),
        (("local_daif_inherit", "el1_abort", "el1h_64_sync_handler", "el1h_64_sync"), "sync"),
        # 5.10
        (("el1_abort", "el1_sync_handler", "el1_sync", "get_user"), "sync"),
        (("el1_irq", "get_user"), "irq"),
        (("el1_interrupt", "el1h_64_irq_handler", "el1h_64_irq", "get_user"), "irq"),
        (("el1h_64_error", "el1t_64_sync"), "error"),
        # an interrupt that came in a fault's handler
        (("el1_interrupt", "el1h_64_irq", "do_mem_abort", "el1_abort", "el1h_64_sync"), "irq"),
        # a system call, from user space
        (("vfs_mkdir", "el0_svc", "el0t_64_sync_handler", "el0t_64_sync"), ""),
        (("el1h_64_sync_handler",), ""),
        ((), ""),
    ],
)
def test_the_latest_exception_is_what_entered(stack: tuple[str, ...], by: str) -> None:
    assert entered_by(places(*stack)) == by


@pytest.mark.parametrize("function", WORK)
@pytest.mark.parametrize("suffix", ["", ".part.0", ".isra.0", ".constprop.0.isra.0"])
def test_work_is_work_whatever_a_compiler_made_of_it(function: str, suffix: str) -> None:
    assert list(map(is_work, places(function + suffix))) == [True]


def test_other_functions_are_no_work() -> None:
    assert not any(map(is_work, places("do_notify_resumed", "exit_to_user_mode", "vfs_mkdir", "")))


def test_what_a_step_enters_has_a_name() -> None:
    interrupts = places("el1_interrupt", "el1_interrupt.constprop.0", "el1h_64_irq_handler")
    exceptions = places("el1_abort", "el1_abort.isra.0", "local_daif_inherit", "vectors")
    others = places("vfs_mkdir", "local_daif_mask", "")
    every = [*interrupts, *exceptions, *others]
    assert [place for place in every if is_interrupt(place)] == interrupts
    found = [place for place in every if EXCEPTION.search(place.symbol)]
    assert found == [*interrupts, *exceptions]
