# SPDX-License-Identifier: GPL-2.0-only
"""Text by which a kernel says that it is in trouble, wherever on the line it appears."""

from __future__ import annotations

import re

from kstep.outcome import KernelFault, Signature

# From kernel/debug/debug_core.c, kernel/debug/kdb/kdb_bp.c, arch/arm64/kernel/debug-monitors.c,
# drivers/misc/kgdbts.c,
# kernel/panic.c, kernel/rcu/tree_stall.h, kernel/watchdog.c and lib/locking of Linux 6.1.
COMPLAINT = re.compile(
    rb"Critical breakpoint error"
    rb"|BP remove failed"
    rb"|breakpoint remove failed"
    rb"|Catastrophic error detected"
    rb"|Timed out waiting for secondary CPUs\."
    rb"|Unexpected kernel single-step exception at EL1"
    rb"|kgdbts: (?:ERROR|BP mismatch|SingleStep failed)"
    rb"|bad unlock balance detected"
    rb"|BUG:"
    rb"|WARNING:"
    rb"|Oops"
    rb"|(?P<panic>Kernel panic)"
    rb"|rcu: INFO: [^\n]* stall"
    rb"|soft lockup"
)
LONGEST = 256  # bytes: a complaint may be cut by the end of a piece


class Ear:
    """Listens to all that a line says; raises KernelFault at the first complaint."""

    def __init__(self) -> None:
        self._rest = b""

    def hear(self, data: bytes) -> None:
        """Take the next piece."""
        text = self._rest + data
        if match := COMPLAINT.search(text):
            self._rest = b""
            signature = Signature.PANIC if match["panic"] else Signature.SPLAT
            line = text[text.rfind(b"\n", 0, match.start()) + 1 :].splitlines()[0]
            raise KernelFault(signature, line.decode(errors="replace").strip())
        # What ends a line cannot be continued, and every complaint stands on one line.
        self._rest = text[text.rfind(b"\n") + 1 :][-LONGEST:]
