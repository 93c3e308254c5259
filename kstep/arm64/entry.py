# SPDX-License-Identifier: GPL-2.0-only
"""Where an arm64 kernel is entered, and left to user space, by the names of its functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where an interrupt, and any other exception, is entered: arch/arm64/kernel/entry.S and
# entry-common.c from 5.10 (el1_irq) on, with the step trapped wherever D is unmasked.
INTERRUPT = re.compile(
    r"^_*(el[01][a-z]*_(64_|32_)?)_*(irq|fiq|interrupt|pnmi)|^_*el[01]_(irq|pnmi)|gic_handle_irq|_handle_arch_irq|call_on_irq_stack"
)
# local_daif_inherit() and local_daif_restore() unmask D there, inlined or not, as compiler and
# version have it.
EXCEPTION = re.compile(
    r"^_*(el[01][a-z]*_|vectors|local_daif_(inherit|restore)|do_(debug_exception|mem_abort|serror)|ret_to_)"
)
# By which exception the kernel was entered from the kernel: labels of arch/arm64/kernel/entry.S,
# which no compiler inlines or renames.
LABEL = re.compile(r"^el1[ht]?_(?:64_)?(sync|irq|fiq|error)$")
SYNCHRONOUS = "sync"  # of the instruction itself
# What a system call has to do on its way out, where that comes before everything is masked: from
# 7.0 on (kernel/entry/common.c) and around 6.12 (arch/arm64/kernel/entry-common.c). Mostly
# schedule(), which says `scheduling while atomic` when it is stepped, for kgdb holds
# dbg_slave_lock from the first step to `go` (kernel/debug/debug_core.c). In 5.10 and 6.1 the
# masking comes first (ret_to_user in entry.S, prepare_exit_to_user_mode() in entry-common.c).
WORK = ("exit_to_user_mode_loop", "do_notify_resume")


class Named(Protocol):
    """A place that knows the name of its function."""

    @property
    def symbol(self) -> str:
        """The function."""


def is_work(place: Named) -> bool:
    """Whether a place is in a function of WORK, or in what a compiler made of it.

    gcc names clones and parts of a function FUNCTION.isra.0, FUNCTION.part.0, ….
    """
    return place.symbol.partition(".")[0] in WORK


def entered_by(stack: Iterable[Named]) -> str:
    """Return the latest exception from the kernel on a stack, whose innermost place comes first.

    `sync`, `irq`, `fiq` or `error`, as entry.S has them; "" if there is none.
    """
    labels = (LABEL.search(place.symbol) for place in stack)
    return next((label[1] for label in labels if label), "")


def is_interrupt(place: Named) -> bool:
    """Whether a place is on an interrupt's way in."""
    return INTERRUPT.search(place.symbol) is not None
