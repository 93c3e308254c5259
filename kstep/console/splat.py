# SPDX-License-Identifier: GPL-2.0-only
"""Text by which a kernel reports a fault, anywhere on the line."""

from __future__ import annotations

import re

from kstep.base.outcome import KernelFault, Signature

# From Linux 6.1 and 7.2. kgdb's own: kernel/debug/debug_core.c, kernel/debug/kdb/kdb_bp.c,
# arch/arm64/kernel/debug-monitors.c and drivers/misc/kgdbts.c. The rest, by its file:
# - kernel/panic.c: WARNING:, Kernel panic; kernel/locking/lockdep.c: WARNING: of every finding,
#   such as "possible recursive locking detected", and INFO: of a key that is not static
# - mm/kasan/report.c, kernel/kcsan/report.c, lib/bug.c, kernel/sched/core.c, mm/: BUG:
# - lib/ubsan.c: UBSAN:; lib/list_debug.c: "list_add corruption. ", "list_del corruption, "
# - arch/arm64/mm/fault.c: "Unable to handle kernel %s at virtual address"
# - arch/arm64/kernel/traps.c: "Internal error: %s: %016lx [#%d]", "Insufficient stack space to
#   handle exception!", "SError Interrupt on CPU%d"; entry-common.c: "Unhandled %s exception on
#   CPU%d"
# - kernel/irq/spurious.c: "irq %d: nobody cared"; kernel/irq/chip.c: "Spurious%s percpu IRQ%u"
# - kernel/time/tick-sched.c: "NOHZ tick-stop error: local softirq work is pending"
# - kernel/rcu/tree_stall.h, tree_exp.h, tasks.h: "rcu: INFO: %s detected stalls on ...",
#   "... detected expedited stalls ...", "... self-detected stall on CPU"
# - kernel/watchdog.c: "BUG: soft lockup", and with kernel/watchdog_hld.c "Watchdog detected hard
#   LOCKUP on cpu %d"; kernel/hung_task.c: "INFO: task %s:%d blocked for more than %ld seconds."
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
    rb"|INFO: [^\n]*(?:detected (?:expedited )?stalls?\b|self-detected stall)"
    rb"|INFO: trying to register non-static key"
    rb"|INFO: task [^\n]* blocked (?:in I/O wait )?for more than \d+ seconds"
    rb"|soft lockup"
    rb"|hard LOCKUP"
    rb"|UBSAN: "
    rb"|list_(?:add|del) corruption[.,]"
    rb"|Unable to handle kernel "
    rb"|Internal error: "
    rb"|Insufficient stack space to handle exception!"
    rb"|SError Interrupt on CPU\d"
    rb"|Unhandled [^\n]*exception on CPU\d"
    rb"|irq \d+: nobody cared"
    rb"|Spurious(?: and unmasked)? percpu IRQ\d"
    rb"|NOHZ tick-stop error"
)

# Of these, what a kernel also prints if its host gives it no CPU time.
STALL = re.compile(
    r"detected (?:expedited )?stalls?\b|self-detected stall|blocked .*for more than"
    r"|soft lockup|hard LOCKUP"
)

# Signatures other than `splat`, by the group of the pattern.
SIGNATURES = {"panic": Signature.PANIC, "step_flood": Signature.STEP_FLOOD}


def unexpected_steps(text: bytes) -> int:
    """Count the step exceptions that ``text`` reports."""
    return sum(match.lastgroup == "step_flood" for match in SPLAT.finditer(text))


class SplatDetector:
    """Reads all that the serial line delivers; raises KernelFault at the first splat.

    A splat is within one line of text, so each is checked once, when it is complete. A splat
    whose line contains a key of ``provoked`` was caused on purpose: it is only counted.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.provoked: dict[bytes, int] = {}

    def feed(self, data: bytes) -> None:
        """Check the next bytes."""
        self._rest += data
        if b"\n" in data:
            text, _, self._rest = self._rest.rpartition(b"\n")
            self._judge(text)

    def finish(self) -> None:
        """Check a last line that has no end."""
        text, self._rest = self._rest, b""
        self._judge(text)

    def _judge(self, text: bytes) -> None:
        counted = -1  # start of the last provoked line, which may have two splats
        for match in SPLAT.finditer(text):
            signature = SIGNATURES.get(match.lastgroup or "", Signature.SPLAT)
            start = text.rfind(b"\n", 0, match.start()) + 1
            line = text[start:].splitlines()[0]
            provoked = next((part for part in self.provoked if part in line), None)
            if provoked is None:
                raise KernelFault(signature, line.decode(errors="replace").strip())
            self.provoked[provoked] += start != counted
            counted = start
