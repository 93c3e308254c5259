# SPDX-License-Identifier: GPL-2.0-only
"""Waits for the end of a boot on its serial line: the guest is ready, or the kernel is down."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.console import SilenceError
from kstep.console.shell import READY

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.base.deadline import Deadline
    from kstep.console.console import Console

# The end of a boot: the guest's READY line, or the kernel's last line (kernel/panic.c; a panic or
# an oops enters kdb, and no breakpoint is set yet).
PANIC = rb"---\[ end Kernel panic[^\n]*\n"
UP_OR_DOWN = re.compile(
    READY.pattern + rb"|(?P<down>" + PANIC + rb"|(?P<prompt>(\[\d+\])?(kdb|more)> \Z))"
)
UP_OR_PANIC = re.compile(READY.pattern + rb"|(?P<down>" + PANIC + rb")")
# Ends of a boot that kstep may have caused: a broken guest, or too small a machine
# (init/do_mounts.c, init/main.c, kernel/exit.c, mm/oom_kill.c; die() in tests/guest/init.c).
# A kernel whose own fault kills init has printed a splat before, which counts.
OURS = re.compile(
    r"VFS: Unable to mount root fs"
    r"|No working init found"
    r"|Requested init .* failed"
    r"|Attempted to kill init!"
    r"|Out of memory"
    r"|System is deadlocked on memory"
)
LAST_LINES = 12
READINESS = "line from the guest that it is ready"


def await_end(
    console: Console,
    pattern: re.Pattern[bytes],
    quiet: float,
    deadline: Deadline,
    ask: Callable[[], None] | None = None,
) -> re.Match[bytes]:
    """Wait until ``pattern`` ends the boot; see Console.expect() for ``ask``.

    Raises SilenceError after ``quiet`` seconds without output, or at the deadline.
    """
    heard = 0
    while True:
        try:
            soon = console.deadline(min(quiet, deadline.left))
            return console.expect(pattern, READINESS, soon, ask)
        except SilenceError as error:
            if len(error.heard) <= heard or not deadline.left:
                raise
            heard = len(error.heard)


class BootFault(KernelFault):
    """The kernel printed a fault during boot, and did not come up."""


class SilentBootError(MachineryError):
    """The kernel was not up in time, and did not say why."""


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

    Keeps waiting after ``console.on_text`` has raised a splat, and raises it once the guest is
    up. Raises BootFault if the guest does not come up after a splat; MachineryError ``no-boot``,
    with the last lines of the console, if there was no splat, or one that kstep may have caused
    (OURS).
    """
    splat: KernelFault | None = None
    try:
        try:
            match = await_end(console, pattern, quiet, deadline, ask)
        except KernelFault as fault:
            splat, console.on_text = fault, None
            match = await_end(console, pattern, quiet, deadline, ask)
    except SilenceError as error:
        kind = SilentBootError if splat is None else MachineryError
        raise _down(splat, str(error), error.heard, kind) from error
    if match["down"] and not (waits and match["prompt"]):
        raise _down(splat, "it ends in the debugger or a panic", match.string)
    if splat is not None:
        raise splat
    return match


def _down(
    splat: KernelFault | None,
    why: str,
    console: bytes,
    kind: type[MachineryError] = MachineryError,
) -> KernelFault | MachineryError:
    if splat is not None and not OURS.search(str(splat)):
        return BootFault(splat.signature, f"the kernel does not boot: {splat}")
    lines = console.decode(errors="replace").replace("\r", "").splitlines()[-LAST_LINES:]
    return kind(
        f"the kernel does not boot: {splat or why}",
        Signature.NO_BOOT,
        tuple(lines) or ("it printed nothing",),
    )
