# SPDX-License-Identifier: GPL-2.0-only
"""Text by which a kernel says that it is in trouble, wherever on the line it appears."""

from __future__ import annotations

import re

from kstep.base.outcome import KernelFault, Signature

# From kernel/debug/debug_core.c, kernel/debug/kdb/kdb_bp.c, arch/arm64/kernel/debug-monitors.c,
# drivers/misc/kgdbts.c, kernel/panic.c, kernel/rcu/tree_stall.h, kernel/watchdog.c and
# lib/locking of Linux 6.1.
SPLAT = re.compile(
    rb"Critical breakpoint error"
    rb"|BP remove failed"
    rb"|breakpoint remove failed"
    rb"|Catastrophic error detected"
    rb"|Timed out waiting for secondary CPUs\."
    rb"|(?P<step_flood>Unexpected kernel single-step exception at EL1)"
    rb"|kgdbts: (?:ERROR|BP mismatch|SingleStep failed)"
    rb"|bad unlock balance detected"
    rb"|BUG:"
    rb"|WARNING:"
    rb"|Oops"
    rb"|(?P<panic>Kernel panic)"
    rb"|rcu: INFO: [^\n]* stall"
    rb"|soft lockup"
    rb"|Unable to handle kernel"
)

# What is more than a `splat`, by the group of the pattern.
SIGNATURES = {"panic": Signature.PANIC, "step_flood": Signature.STEP_FLOOD}


def unexpected_steps(text: bytes) -> int:
    """Count the step exceptions that ``text`` reports."""
    return sum(match.lastgroup == "step_flood" for match in SPLAT.finditer(text))


class SplatDetector:
    """Listens to all that a line says; raises KernelFault at the first splat.

    A splat stands on one line, so each line is looked at once, when it is whole. One
    whose line holds a key of ``provoked`` was brought about on purpose: it is only counted.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.provoked: dict[bytes, int] = {}

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._rest += data
        if b"\n" in data:
            text, _, self._rest = self._rest.rpartition(b"\n")
            self._judge(text)

    def finish(self) -> None:
        """Look at a line that will not be ended."""
        text, self._rest = self._rest, b""
        self._judge(text)

    def _judge(self, text: bytes) -> None:
        counted = -1  # where the last line begins that was provoked; it may hold two splats
        for match in SPLAT.finditer(text):
            signature = SIGNATURES.get(match.lastgroup or "", Signature.SPLAT)
            start = text.rfind(b"\n", 0, match.start()) + 1
            line = text[start:].splitlines()[0]
            provoked = next((part for part in self.provoked if part in line), None)
            if provoked is None:
                raise KernelFault(signature, line.decode(errors="replace").strip())
            self.provoked[provoked] += start != counted
            counted = start
