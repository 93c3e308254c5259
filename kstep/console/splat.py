# SPDX-License-Identifier: GPL-2.0-only
"""Text by which a kernel reports a fault, anywhere on the line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature

if TYPE_CHECKING:
    from collections.abc import Callable

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
    rb"|(?<![A-Z])BUG: "  # not "sysrq: DEBUG" and one changed byte
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

# Of these, what a kernel also prints if its host gives it no CPU time. kgdb gives another CPU a
# second to come (kernel/debug/debug_core.c). The last is a WARN_ON() of CONFIG_PROVE_RCU
# (kernel/rcu/tree_stall.h): no grace period began for as long as a stall lasts.
STALL = re.compile(
    r"detected (?:expedited )?stalls?\b|self-detected stall|blocked .*for more than"
    r"|soft lockup|hard LOCKUP|Timed out waiting for secondary CPUs|rcu_check_gp_start_stall\b"
)

# Signatures other than `splat`, by the group of the pattern.
SIGNATURES = {"panic": Signature.PANIC, "step_flood": Signature.STEP_FLOOD}


def unexpected_steps(text: bytes) -> int:
    """Count the step exceptions that ``text`` reports."""
    return sum(match.lastgroup == "step_flood" for match in SPLAT.finditer(text))


# Reports of kgdb's own lock, in every variant: kgdb_cpu_enter() takes dbg_slave_lock
# (kernel/debug/debug_core.c) and returns to a step with it. So what is stepped, and may sleep, does
# so with preemption off, as CONFIG_DEBUG_ATOMIC_SLEEP reports; and lockdep sees the lock held with
# interrupts on, and before and after any other. A report's text ends where the stack begins.
STACK = re.compile(rb"CPU: \d+ (?:UID: \d+ )?PID: \d+|Call trace:")
FURTHER = b"other info that might help us"  # after it lockdep lists all locks that are held
LONGEST = 1 << 18  # bytes of a report that is stepped through, with the debugger's own between
KGDB_S = b"dbg_slave_lock"
TRIED = re.compile(rb"is trying to lock:\s+[^\n]*-\{(\d+):\d+\}")
CONTEXT = re.compile(rb"context-\{(\d+):")
HELD = re.compile(rb" #\d+: \S+ \(([^\n]+)\)\{[^}\n]*\}-\{\d+:(\d+)\}")


def waits_with_kgdb_s_lock(report: bytes) -> bool:
    """Whether a lock that may sleep is taken under kgdb's own, a raw spinlock, and no other.

    Of each lock lockdep prints what it may do and what it allows inside it, as numbers that ascend
    from a raw spinlock to a lock that sleeps (check_wait_context() in kernel/locking/lockdep.c);
    0 is a lock that is not checked. The context is that of an interrupt, or none.
    """
    tried, context = TRIED.search(report), CONTEXT.search(report)
    if tried is None or context is None or int(context[1]) < int(tried[1]):
        return False
    held = HELD.findall(report)
    return {name for name, allows in held if 0 < int(allows) < int(tried[1])} == {KGDB_S}


def says(pattern: bytes, flags: re.RegexFlag = re.NOFLAG) -> Callable[[bytes], bool]:
    """Judge a report by what it says itself, before lockdep lists all locks that are held."""
    compiled = re.compile(pattern, flags)
    return lambda report: compiled.search(report.partition(FURTHER)[0]) is not None


OF_KGDB: dict[bytes, Callable[[bytes], bool]] = {
    # kernel/sched/core.c. Of that lock alone: interrupts are on, and preemption is off once more
    # than it may be. Lockdep names the lock, CONFIG_DEBUG_PREEMPT who turned preemption off. If the
    # lock is released in the middle of a report that is stepped, the rest finds nothing wrong.
    b"BUG: sleeping function called from invalid context": says(
        rb"irqs_disabled\(\): 0,.*preempt_count: 1, expected: 0\b"
        rb".*(?:\(dbg_slave_lock\)|Preemption disabled at:[^\n]*\n[^\n]*kgdb_cpu_enter\+)"
        rb"|in_atomic\(\): 0, irqs_disabled\(\): 0, non_block: 0,"
        rb".*preempt_count: 0, expected: 0\b.*RCU nest depth: 0, expected: 0\b",
        re.DOTALL,
    ),
    # kernel/locking/lockdep.c, which turns itself off after any of them
    b"WARNING: inconsistent lock state": says(rb"takes:\s+[^\n]*\(dbg_slave_lock\)"),
    b"WARNING: possible circular locking dependency": says(rb"\(dbg_slave_lock\)"),
    b"WARNING: possible irq lock inversion dependency": says(rb"\(dbg_slave_lock\)"),
    b"irq-safe -> ": says(rb"already holding:\s+[^\n]*\(dbg_slave_lock\)"),
    b"IRQ-safe -> ": says(rb"already holding:\s+[^\n]*\(dbg_slave_lock\)"),
    b"WARNING: lock held when returning to user space": says(
        rb"1 lock held by [^\n]*\n[^\n]*\(dbg_slave_lock\)"
    ),
    b"WARNING: bad unlock balance detected": says(rb"release lock \(dbg_slave_lock\)"),
    b"[ BUG: Invalid wait context ]": waits_with_kgdb_s_lock,
}


@dataclass
class _Report:
    """A splat that may be of kgdb's own lock: its fault, how it is then, and its text so far."""

    fault: KernelFault
    of_kgdb: Callable[[bytes], bool]
    text: bytes = b""

    @property
    def is_of_kgdb(self) -> bool:
        """Whether it is, and nothing else in it is a splat."""
        splats = sum(SPLAT.search(line) is not None for line in self.text.splitlines())
        return splats == 1 and self.of_kgdb(self.text)


class SplatDetector:
    """Reads all that the serial line delivers; raises KernelFault at the first splat.

    A splat is within one line of text, so each is checked once, when it is complete. A splat
    whose line contains a key of ``provoked`` was caused on purpose: it is only counted. So is a
    report of kgdb's own lock, of which ``of_kgdb`` is the number.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._report: _Report | None = None
        self.provoked: dict[bytes, int] = {}
        self.of_kgdb = 0

    def feed(self, data: bytes) -> None:
        """Check the next bytes."""
        self._rest += data
        if b"\n" in data:
            text, _, self._rest = self._rest.rpartition(b"\n")
            self._judge(text + b"\n")

    def finish(self) -> None:
        """Check a last line that has no end, and a report that has none."""
        text, self._rest = self._rest, b""
        self._judge(text)
        if self._report is not None:
            raise self._report.fault

    def _judge(self, text: bytes) -> None:
        if self._report is not None:
            text = self._end_of(self._report, text)
        counted = -1  # start of the last provoked line, which may have two splats
        for match in SPLAT.finditer(text):
            signature = SIGNATURES.get(match.lastgroup or "", Signature.SPLAT)
            # kdb's pager ends its prompt by a carriage return, and the next line follows it.
            start = max(text.rfind(end, 0, match.start()) for end in (b"\n", b"\r")) + 1
            line = text[start:].splitlines()[0]
            provoked = next((part for part in self.provoked if part in line), None)
            if provoked is None:
                fault = KernelFault(signature, line.decode(errors="replace").strip())
                known = next((how for head, how in OF_KGDB.items() if head in line), None)
                if known is None:
                    raise fault
                self._report = _Report(fault, known)
                self._judge(text[start:])
                return
            self.provoked[provoked] += start != counted
            counted = start

    def _end_of(self, report: _Report, text: bytes) -> bytes:
        """Add text to a report; judge it where it ends, and return what follows."""
        end = STACK.search(text)
        report.text += text if end is None else text[: end.start()]
        if end is None and len(report.text) < LONGEST:
            return b""
        if not report.is_of_kgdb:
            raise report.fault
        self._report = None
        self.of_kgdb += 1
        return text[end.start() :] if end else b""
