# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's taint, which shows a fault even if its message was missed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.session.dialogue import State

if TYPE_CHECKING:
    from kstep.session.target import Target

# Only built-in commands of the shell: no fork and exec after every cell.
COMMAND = "read -r taint < /proc/sys/kernel/tainted; echo $taint"
MASK = re.compile(r"^(\d+)\r?$", re.MULTILINE)

# The bits for faults, by number: taint_flags[] in kernel/panic.c and TAINT_* in
# include/linux/panic.h. The others are about modules, firmware, and the kernel's build.
FAULTS = {
    4: "M (TAINT_MACHINE_CHECK)",
    5: "B (TAINT_BAD_PAGE)",
    7: "D (TAINT_DIE: an oops or a BUG)",
    9: "W (TAINT_WARN: a warning)",
    14: "L (TAINT_SOFTLOCKUP)",
}


def faults(mask: int) -> list[str]:
    """Return the names of the faults in a mask."""
    return [name for bit, name in FAULTS.items() if mask >> bit & 1]


def after(target: Target, known: int) -> int | None:
    """Read the kernel's taint after a script that passed; return it.

    ``known`` is the taint before. None if the guest is not at its shell, or does not answer: a
    script that passed may leave it so, which is no verdict. Raises KernelFault ``splat`` for a new
    fault, unless the script excused splats, which taint the kernel too.
    """
    if target.state is not State.SHELL:
        return None
    try:
        answer = target.ask(COMMAND)
    except KernelFault as fault:
        if fault.signature in {Signature.SPLAT, Signature.PANIC, Signature.STEP_FLOOD}:
            raise
        return None
    except MachineryError:
        return None
    said = MASK.search(answer.text)
    if answer.status or said is None:
        return None
    mask = int(said[1])
    new = faults(mask & ~known)
    if new and not target.has_excused:
        raise KernelFault(
            Signature.SPLAT,
            f"the kernel is tainted {', '.join(new)}: there was a fault in the session, but its"
            f" message was not recognized (/proc/sys/kernel/tainted is {mask})",
        )
    return mask
