# SPDX-License-Identifier: GPL-2.0-only
"""How a boot ends, as its serial line tells: what is waited for, and for how long."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.console.console import SilenceError
from kstep.console.shell import READY

if TYPE_CHECKING:
    from kstep.console.console import Console

# What ends a boot: the guest's word, or the kernel's last one (kernel/panic.c; kdb is
# entered by a panic and an oops, and nobody has set a breakpoint yet).
PANIC = rb"---\[ end Kernel panic[^\n]*\n"
UP_OR_DOWN = re.compile(
    READY.pattern + rb"|(?P<down>" + PANIC + rb"|(?P<prompt>(\[\d+\])?(kdb|more)> \Z))"
)
UP_OR_PANIC = re.compile(READY.pattern + rb"|(?P<down>" + PANIC + rb")")
READINESS = "word from the guest that it is ready"


def await_end(
    console: Console, pattern: re.Pattern[bytes], quiet: float, deadline: Deadline
) -> re.Match[bytes]:
    """Wait until the boot has ended by one of the above.

    Raises SilenceError after ``quiet`` seconds without a word, or at the deadline.
    """
    heard = 0
    while True:
        try:
            return console.expect(pattern, READINESS, Deadline.after(min(quiet, deadline.left)))
        except SilenceError as error:
            if len(error.heard) <= heard or not deadline.left:
                raise
            heard = len(error.heard)
