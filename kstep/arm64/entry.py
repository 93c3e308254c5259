# SPDX-License-Identifier: GPL-2.0-only
"""The names of the functions by which an arm64 kernel is entered, and left to user space."""

from __future__ import annotations

import re
from typing import Protocol

# The entry of interrupts, and of other exceptions: arch/arm64/kernel/entry.S and entry-common.c
# since 5.10 (el1_irq); a step traps wherever D is unmasked.
INTERRUPT = re.compile(
    r"^_*(el[01][a-z]*_(64_|32_)?)_*(irq|fiq|interrupt|pnmi)|^_*el[01]_(irq|pnmi)|gic_handle_irq|_handle_arch_irq|call_on_irq_stack"
)
EXCEPTION = re.compile(r"^_*(el[01][a-z]*_|vectors|do_(debug_exception|mem_abort|serror)|ret_to_)")
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


def is_interrupt(code: Named) -> bool:
    """Whether a code address is in the entry of an interrupt."""
    return INTERRUPT.search(code.symbol) is not None
