# SPDX-License-Identifier: GPL-2.0-only
"""How a boot ends, as its serial line tells: what is waited for, and for how long."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.console import SilenceError
from kstep.console.shell import READY

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.console import Console

# What ends a boot: the guest's word, or the kernel's last one (kernel/panic.c; kdb is
# entered by a panic and an oops, and nobody has set a breakpoint yet).
PANIC = rb"---\[ end Kernel panic[^\n]*\n"
UP_OR_DOWN = re.compile(
    READY.pattern + rb"|(?P<down>" + PANIC + rb"|(?P<prompt>(\[\d+\])?(kdb|more)> \Z))"
)
UP_OR_PANIC = re.compile(READY.pattern + rb"|(?P<down>" + PANIC + rb")")
# What ends a boot and may be our doing: a guest that is broken or too small a machine
# (init/do_mounts.c, init/main.c, kernel/exit.c, mm/oom_kill.c; die() in tests/guest/init.c).
# A kernel that kills init by a fault of its own has said so before, and that counts.
OURS = re.compile(
    r"VFS: Unable to mount root fs"
    r"|No working init found"
    r"|Requested init .* failed"
    r"|Attempted to kill init!"
    r"|Out of memory"
    r"|System is deadlocked on memory"
)
LAST_LINES = 12
READINESS = "word from the guest that it is ready"


def await_end(
    console: Console,
    pattern: re.Pattern[bytes],
    quiet: float,
    deadline: Deadline,
    ask: Callable[[], None] | None = None,
) -> re.Match[bytes]:
    """Wait until the boot has ended by one of the above; see Console.expect() for ``ask``.

    Raises SilenceError after ``quiet`` seconds without a word, or at the deadline.
    """
    heard = 0
    while True:
        try:
            soon = Deadline.after(min(quiet, deadline.left))
            return console.expect(pattern, READINESS, soon, ask)
        except SilenceError as error:
            if len(error.heard) <= heard or not deadline.left:
                raise
            heard = len(error.heard)


class BootFault(KernelFault):
    """The kernel said what is wrong with it on the way up, and did not come up."""


def await_up(
    console: Console,
    pattern: re.Pattern[bytes],
    quiet: float,
    deadline: Deadline,
    *,
    waits: bool = False,
    ask: Callable[[], None] | None = None,
) -> re.Match[bytes]:
    """Wait until the guest is up, or stopped in kdb if it ``waits`` for that; see await_end().

    Whether it comes up is waited for also after ``console.on_text`` has raised. Raises then
    what that raised; BootFault if it does not come up, for what a kernel itself says on the
    line is a fact about it; and MachineryError ``no-boot``, with the last lines of the console,
    if it said nothing, or what may be our doing (OURS).
    """
    complaint: KernelFault | None = None
    try:
        try:
            match = await_end(console, pattern, quiet, deadline, ask)
        except KernelFault as fault:
            complaint, console.on_text = fault, None
            match = await_end(console, pattern, quiet, deadline, ask)
    except SilenceError as error:
        raise _down(complaint, str(error), error.heard) from error
    if match["down"] and not (waits and match["prompt"]):
        raise _down(complaint, "it ends in the debugger or a panic", match.string)
    if complaint is not None:
        raise complaint
    return match


def _down(complaint: KernelFault | None, why: str, console: bytes) -> KernelFault | MachineryError:
    if complaint is not None and not OURS.search(str(complaint)):
        return BootFault(complaint.signature, f"the kernel does not boot: {complaint}")
    lines = console.decode(errors="replace").replace("\r", "").splitlines()[-LAST_LINES:]
    return MachineryError(
        f"the kernel does not boot: {complaint or why}",
        Signature.NO_BOOT,
        tuple(lines) or ("it said nothing",),
    )
