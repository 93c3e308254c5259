# SPDX-License-Identifier: GPL-2.0-only
"""The names of the functions by which an arm64 kernel is entered, and left to user space."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

# The entry of interrupts, and of other exceptions: arch/arm64/kernel/entry.S and entry-common.c
# since 5.10 (el1_irq); a step traps wherever D is unmasked.
INTERRUPT = re.compile(
    r"^_*(el[01][a-z]*_(64_|32_)?)_*(irq|fiq|interrupt|pnmi)|^_*el[01]_(irq|pnmi)|gic_handle_irq|_handle_arch_irq|call_on_irq_stack"
)
# local_daif_inherit() and local_daif_restore() unmask D there; whether they are inlined depends on
# the compiler and the kernel's version.
EXCEPTION = re.compile(
    r"^_*(el[01][a-z]*_|vectors|local_daif_(inherit|restore)|do_(debug_exception|mem_abort|serror)|ret_to_)"
)
# The labels in arch/arm64/kernel/entry.S of exceptions taken from the kernel. No compiler inlines
# or renames them.
LABEL = re.compile(r"^el1[ht]?_(?:64_)?(sync|irq|fiq|error)$")
SYNCHRONOUS = "sync"  # the exception of an instruction, such as a fault
# Exit-to-user work that a system call does before everything is masked: since 7.0
# (kernel/entry/common.c) and around 6.12 (arch/arm64/kernel/entry-common.c). Usually schedule(),
# which prints `scheduling while atomic` when it is stepped, because kgdb holds dbg_slave_lock
# from the first step until `go` (kernel/debug/debug_core.c). In 5.10 and 6.1 the masking comes
# first (ret_to_user in entry.S, prepare_exit_to_user_mode() in entry-common.c).
WORK = ("exit_to_user_mode_loop", "do_notify_resume")


class Named(Protocol):
    """A code address that knows the name of its function."""

    @property
    def symbol(self) -> str:
        """The function."""


def is_work(code: Named) -> bool:
    """Whether a code address is in a function of WORK, or in a part or clone of one.

    gcc names those FUNCTION.part.0, FUNCTION.isra.0, and so on.
    """
    return code.symbol.partition(".")[0] in WORK


def entered_by(stack: Iterable[Named]) -> str:
    """Return the latest exception taken from the kernel, by a stack, the innermost frame first.

    `sync`, `irq`, `fiq` or `error`, as entry.S names them; "" if there is none.
    """
    labels = (LABEL.search(code.symbol) for code in stack)
    return next((label[1] for label in labels if label), "")


def is_interrupt(code: Named) -> bool:
    """Whether a code address is in the entry of an interrupt."""
    return INTERRUPT.search(code.symbol) is not None
