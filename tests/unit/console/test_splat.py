# SPDX-License-Identifier: GPL-2.0-only
"""Complaints of a kernel, heard however the line is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.base.outcome import KernelFault, Signature
from kstep.console.splat import SplatDetector, unexpected_steps
from tests.unit.farend import pieces

SPLATS = [
    b"KGDB: BP remove failed: ffff8000081584c0",
    b"breakpoint remove failed: ffff8000081584c0",
    b"Catastrophic error detected",
    b"Critical breakpoint error, kernel is not stable",
    b"KGDB: Timed out waiting for secondary CPUs.",
    b"[    1.5] Unexpected kernel single-step exception at EL1",
    b"[    1.5] WARNING: bad unlock balance detected!",
    b"[    1.5] BUG: scheduling while atomic: sh/23/0x00000002",
    b"[    1.5] WARNING: CPU: 0 PID: 23 at kernel/locking/lockdep.c:1 x+0x4/0x8",
    b"[    1.5] Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP",
    b"[    1.5] rcu: INFO: rcu_preempt self-detected stall on CPU",
    b"[    1.5] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [sh:23]",
    b"[    1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
    b"[    1.5] UBSAN: array-index-out-of-bounds in kernel/x.c:12:3",
    b"[    1.5] UBSAN: shift out of bounds in kernel/x.c:12:3",
    b"[    1.5] list_add corruption. prev is NULL.",
    b"[    1.5] list_add corruption. next->prev should be prev (ffff800009c01a28), but was 0. (n",
    b"[    1.5] list_del corruption, ffff0000011a3d08->next is NULL",
    b"[    1.5] list_del corruption. prev->next should be ffff0000011a3d08, but was 0. (prev=ff)",
    b"[    1.5] Unable to handle kernel NULL pointer dereference at virtual address 000000000000",
    b"[    1.5] Unable to handle kernel paging request at virtual address ffff7fffffffffff",
    b"[    1.5] Internal error: synchronous external abort: 0000000096000010 [#1] PREEMPT SMP",
    b"[    1.5] Internal error: Undefined instruction: 0000000002000000 [#1] SMP",
    b"[    1.5] Insufficient stack space to handle exception!",
    b"[    1.5] SError Interrupt on CPU0, code 0x00000000be000011 -- SError",
    b"[    1.5] Unhandled 64-bit el1h sync exception on CPU0, ESR 0x0000000096000004 -- DABT (cur",
    b'[    1.5] irq 11: nobody cared (try booting with the "irqpoll" option)',
    b"[    1.5] Spurious percpu IRQ11 on CPU1",
    b"[    1.5] Spurious and unmasked percpu IRQ11 on CPU1",
    b"[    1.5] NOHZ tick-stop error: local softirq work is pending, handler #80!!!",
    b"[    1.5] Watchdog detected hard LOCKUP on cpu 1",
    b"[    1.5] watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 1",
    b"[    1.5] INFO: task sh:23 blocked for more than 120 seconds.",
    b"[    1.5] INFO: task sh:23 blocked in I/O wait for more than 120 seconds.",
    b"[    1.5] BUG: KASAN: slab-out-of-bounds in x+0x4/0x8",
    b"[    1.5] BUG: KCSAN: data-race in x / y",
    b"[    1.5] BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 32s!",
    b"[    1.5] WARNING: possible recursive locking detected",
    b"[    1.5] WARNING: possible circular locking dependency detected",
    b"[    1.5] WARNING: inconsistent lock state",
    b"[    1.5] WARNING: suspicious RCU usage",
    b"[    1.5] INFO: trying to register non-static key.",
    b"[    1.5] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    b"[    1.5] rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-.... } 21 jif",
    b"[    1.5] INFO: rcu_tasks detected stalls on tasks:",
    b"[    1.5] INFO: rcu_tasks_trace detected stalls? (Late IPI?)",
]
HARMLESS = [
    b"[    0.000000] rcu: \tRCU calculated value of scheduler-enlistment delay is 100 jiffies.",
    b"[    0.152016] KGDB: Registered I/O driver kgdboc",
    b"Entering kdb (current=0xffff000000a11800, pid 23) on processor 0 due to SS trap @ 0xff",
    b"rcu: INFO: all is well",
    b"debug: warning",
    b"stall",
    b"[    0.0] UBSAN is on",
    b"[    0.5] sched: RT throttling activated",
    b"[    1.5] rcu: INFO: Stall ended before state dump start",
    b"[    1.5] INFO: lockdep is turned off.",
    b"[    1.5] INFO: task sh:23 is blocked on a mutex",
    b"[    1.5] Spurious wakeup",
    b"[    0.0] spurious interrupts: 0",
    b"[    0.3] sh[23]: unhandled exception: DABT (lower EL), ESR 0x92000046, in sh",
    b"[    0.0] NOHZ: Full dynticks CPUs: 1.",
    b"[    0.0] watchdog: Delayed init of the lockup detector failed: -19",
    b"[    0.317611] sysrq: DEBUG:",  # "sysrq: DEBUG", and a carriage return that the line changed
    b"irq 11: affinity broken",
    b"list_add(x, y)",
    b"Internal errors: 0",
]


def hear(said: bytes, sizes: list[int]) -> tuple[Signature, str] | None:
    """Feed all of it, in pieces, and that nothing follows; give the splat."""
    detector = SplatDetector()
    try:
        for piece in pieces(sizes)(said):
            detector.feed(piece)
        detector.finish()
    except KernelFault as fault:
        return fault.signature, str(fault)
    return None


@pytest.mark.parametrize("line", SPLATS)
def test_a_splat_is_heard_with_its_line(line: bytes) -> None:
    found = hear(b"before\r\n" + line + b"\r\nafter\r\n", [1000])
    signature = Signature.PANIC if b"panic" in line else Signature.SPLAT
    if b"single-step" in line:
        signature = Signature.STEP_FLOOD
    assert found == (signature, line.decode())


@pytest.mark.parametrize("line", HARMLESS)
def test_the_rest_is_not(line: bytes) -> None:
    assert hear(line + b"\r\n", [1000]) is None


def test_a_splat_waits_for_its_line() -> None:
    """The rest of it says what it is about."""
    detector = SplatDetector()
    detector.feed(b"[    1.5] BUG: ")
    detector.feed(b"scheduling while atomic\r")
    with pytest.raises(KernelFault, match=r"^\[    1\.5\] BUG: scheduling while atomic$"):
        detector.feed(b"\n")


def test_a_line_that_is_not_ended_can_be_one_too() -> None:
    """What the kernel says last may be cut off."""
    assert hear(b"before\r\nKernel panic", [1]) == (Signature.PANIC, "Kernel panic")


@given(
    st.lists(st.sampled_from(SPLATS + HARMLESS * 3), max_size=12),
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
)
def test_any_cutting_gives_the_same_splat(lines: list[bytes], sizes: list[int]) -> None:
    said = b"".join(line + b"\r\n" for line in lines)
    found = hear(said, [len(said) + 1])
    assert hear(said, sizes) == found
    first = next((line for line in lines if line in SPLATS), None)
    assert (found and found[1]) == (first and first.decode())


@given(st.binary(max_size=300), st.sampled_from(SPLATS), st.lists(st.integers(1, 60), min_size=1))
def test_nothing_before_it_hides_a_splat(before: bytes, line: bytes, sizes: list[int]) -> None:
    assert hear(before + b"\n" + line, sizes) is not None


def test_unexpected_steps_are_counted_and_nothing_else_is() -> None:
    said = b"\r\n".join((*SPLATS, *HARMLESS, b"Unexpected kernel single-step exception at EL1"))
    assert unexpected_steps(said) == 2


def test_what_is_provoked_is_counted_and_the_rest_still_heard() -> None:
    detector = SplatDetector()
    detector.provoked = {b"at drivers/misc/lkdtm": 0}
    detector.feed(b"WARNING: CPU: 0 PID: 23 at drivers/misc/lkdtm/bugs.c:85 x\r\n")
    assert detector.provoked == {b"at drivers/misc/lkdtm": 1}
    with pytest.raises(KernelFault, match=r"at kernel/x\.c"):
        detector.feed(
            b"WARNING: CPU: 0 PID: 23 at drivers/misc/lkdtm/bugs.c:85 x\r\n"
            b"WARNING: CPU: 0 PID: 23 at kernel/x.c:1 y\r\n"
        )


def test_a_line_behind_the_pager_is_a_line() -> None:
    detector = SplatDetector()
    detector.provoked = {b"at drivers/misc/lkdtm": 0}
    line = b"[    1.5] WARNING: CPU: 0 PID: 23 at drivers/misc/lkdtm/bugs.c:85 x\r\n"
    detector.feed(b"[0]more> \r         \r" + line)
    assert detector.provoked == {b"at drivers/misc/lkdtm": 1}
    with pytest.raises(KernelFault, match=r"^\[    1\.5\] WARNING: .* at kernel/x"):
        detector.feed(b"[0]more> \r         \r" + line.replace(b"drivers/misc/lkdtm", b"kernel/x"))


def test_a_line_that_is_provoked_counts_once_however_often_it_complains() -> None:
    detector = SplatDetector()
    detector.provoked = {b"Internal error": 0, b"Catastrophic": 0}
    detector.feed(b"[    1.5] Internal error: Oops - BUG: 00000000f2000800 [#1] PREEMPT SMP\r\n")
    detector.feed(b"Catastrophic error detected\r\nCatastrophic error detected\r\n")
    assert detector.provoked == {b"Internal error": 1, b"Catastrophic": 2}


# -- kgdb's own lock


def delivered(text: bytes) -> bytes:
    """Return a text as the serial line delivers it: the tty ends lines by CR and LF."""
    return text.replace(b"\n", b"\r\n")


SLEEPS = delivered(b"""\
[    9.5] BUG: sleeping function called from invalid context at kernel/locking/rwsem.c:1519
[    9.5] in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 25, name: sh
[    9.5] preempt_count: 1, expected: 0
[    9.5] RCU nest depth: 0, expected: 0
[    9.5] 2 locks held by sh/25:
[    9.5]  #0: ffff000001c2a438 (sb_writers#3){.+.+}-{0:0}, at: filename_create+0x5c/0x150
[    9.5]  #1: ffff80000a0b3f58 (dbg_slave_lock){....}-{2:2}, at: kgdb_cpu_enter+0x2b8/0x7a0
""")
STACK = delivered(b"""\
[    9.5] CPU: 0 PID: 25 Comm: sh Not tainted 6.1.192 #1
[    9.5] Call trace:
""")


@given(st.lists(st.integers(1, 90), min_size=1))
def test_a_sleep_with_kgdb_s_own_lock_is_counted(sizes: list[int]) -> None:
    """However its text is cut; and what follows it is checked as before."""
    detector = SplatDetector()
    for piece in pieces(sizes)(b"# " + SLEEPS + STACK + b"# \n"):
        detector.feed(piece)
    detector.finish()
    assert detector.of_kgdb == 1
    with pytest.raises(KernelFault, match="BUG: scheduling while atomic"):
        detector.feed(b"BUG: scheduling while atomic: sh/23/0x00000002\n")


def test_without_lockdep_the_kernel_may_say_who_turned_preemption_off() -> None:
    detector = SplatDetector()
    head, _, _ = SLEEPS.partition(b"[    9.5] 2 locks")
    at = delivered(b"""\
[    9.5] Preemption disabled at:
[    9.5] [<ffff81>] kgdb_cpu_enter+0x2b8/0x7a0
""")
    detector.feed(head + at + STACK)
    assert detector.of_kgdb == 1
    with pytest.raises(KernelFault, match="sleeping function"):
        detector.feed(head + STACK)


# Printed by 6.1.192 with kconfig debug: its first line was stepped, and then came `go`.
NO_LONGER = delivered(b"""\
[  526.533259] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580
[  795.758494] in_atomic(): 0, irqs_disabled(): 0, non_block: 0, pid: 31, name: syscall
[  795.759435] preempt_count: 0, expected: 0
[  795.759493] RCU nest depth: 0, expected: 0
[  795.759581] INFO: lockdep is turned off.
""")


def test_a_sleep_that_is_no_fault_when_it_is_reported_is_counted() -> None:
    detector = SplatDetector()
    detector.feed(NO_LONGER + STACK)
    assert detector.of_kgdb == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"in_atomic(): 0", b"in_atomic(): 1"),
        (b"irqs_disabled(): 0", b"irqs_disabled(): 1"),
        (b"non_block: 0", b"non_block: 1"),
        (b"preempt_count: 0", b"preempt_count: 1"),
        (b"RCU nest depth: 0", b"RCU nest depth: 1"),
    ],
)
def test_a_sleep_with_any_fault_of_its_own_is_a_splat(old: bytes, new: bytes) -> None:
    with pytest.raises(KernelFault, match="BUG: sleeping function called"):
        SplatDetector().feed(NO_LONGER.replace(old, new) + STACK)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"dbg_slave_lock", b"another_lock"),
        (b"preempt_count: 1", b"preempt_count: 2"),  # one more than kgdb's
        (b"irqs_disabled(): 0", b"irqs_disabled(): 1"),
        (b"RCU nest", b"BUG: KASAN: use-after-free in x\n[    9.5] RCU nest"),
    ],
)
def test_every_other_sleep_is_a_splat(old: bytes, new: bytes) -> None:
    detector = SplatDetector()
    with pytest.raises(KernelFault, match="BUG: sleeping function called") as caught:
        detector.feed(SLEEPS.replace(old, new) + STACK)
    assert caught.value.signature is Signature.SPLAT
    assert detector.of_kgdb == 0


def test_a_report_that_does_not_end_is_a_splat() -> None:
    detector = SplatDetector()
    detector.feed(SLEEPS)
    with pytest.raises(KernelFault, match="BUG: sleeping function called"):
        detector.finish()


LOCKDEP = {
    "inconsistent": b"""\
[    9.5] WARNING: inconsistent lock state
[    9.5] 6.1.192 #1 Not tainted
[    9.5] inconsistent {IN-HARDIRQ-W} -> {HARDIRQ-ON-W} usage.
[    9.5] sh/25 [HC0[0]:SC0[0]:HE1:SE1] takes:
[    9.5] ffff80000a0b3f58 (LOCK){?...}-{2:2}, at: kgdb_cpu_enter+0x2b8/0x7a0
""",
    "circular": b"""\
[    9.5] WARNING: possible circular locking dependency detected
[    9.5] sh/25 is trying to acquire lock:
[    9.5] ffff000001c2a438 (&fs->lock){+.+.}-{2:2}, at: set_fs_pwd+0x2c/0xb0
[    9.5] but task is already holding lock:
[    9.5] ffff80000a0b3f58 (LOCK){....}-{2:2}, at: kgdb_cpu_enter+0x2b8/0x7a0
""",
    "unsafe": b"""\
[    9.5] WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected
[    9.5] sh/25 [HC0[0]:SC0[0]:HE1:SE1] is trying to acquire:
[    9.5] ffff000001c2a438 (&fs->lock){+.+.}-{2:2}, at: set_fs_pwd+0x2c/0xb0
[    9.5] and this task is already holding:
[    9.5] ffff80000a0b3f58 (LOCK){....}-{2:2}, at: kgdb_cpu_enter+0x2b8/0x7a0
""",
    "unlock": b"""\
[    9.5] WARNING: bad unlock balance detected!
[    9.5] sh/25 is trying to release lock (LOCK) at:
""",
}


@pytest.mark.parametrize("report", LOCKDEP.values(), ids=LOCKDEP)
def test_what_lockdep_says_of_kgdb_s_own_lock_is_counted(report: bytes) -> None:
    """And of no other, though the task holds kgdb's, as every task does that is stepped."""
    held = b"""\
[    9.5] other info that might help us debug this:
[    9.5] 1 lock held by sh/25:
[    9.5]  #0: ffff80000a0b3f58 (dbg_slave_lock){....}-{2:2}, at: kgdb_cpu_enter+0x2b8/0x7a0
"""
    detector = SplatDetector()
    text = delivered(report + held) + STACK
    detector.feed(text.replace(b"LOCK)", b"dbg_slave_lock)"))
    assert detector.of_kgdb == 1
    with pytest.raises(KernelFault, match="WARNING: "):
        detector.feed(text.replace(b"LOCK)", b"&p->lock)"))


# Printed by 6.1.192 with kconfig debug, but for the first lock: `go` from within lockdep, which
# does not see kgdb release its lock then.
WAITS = delivered(b"""\
[   24.971663] =============================
[   24.971782] [ BUG: Invalid wait context ]
[   24.971872] 6.1.192 #1 Not tainted
[   24.972019] -----------------------------
[   24.972078] mkdir/26 is trying to lock:
[   25.026498] ffff000001689118 (&child->perf_event_mutex){....}-{3:3}, at: perf_event_exit_task
[   25.027418] other info that might help us debug this:
[   25.027516] context-{4:4}
[   25.027592] 2 locks held by mkdir/26:
[   25.027600]  #0: ffff000001c2a498 (sb_writers#3){.+.+}-{0:0}, at: ksys_write+0x74/0x110
[   25.027679]  #1: ffff8000085343e0 (dbg_slave_lock){+.+.}-{2:2}, at: kgdb_cpu_enter+0x768/0xd90
[   25.027904] stack backtrace:
""")


def test_a_lock_that_sleeps_under_kgdb_s_own_is_counted() -> None:
    detector = SplatDetector()
    detector.feed(WAITS + STACK)
    assert detector.of_kgdb == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"dbg_slave_lock", b"another_lock"),
        (b"(sb_writers#3){.+.+}-{0:0}", b"(&p->lock){-.-.}-{2:2}"),  # which is no better
        (b"context-{4:4}", b"context-{2:2}"),  # in an interrupt
        (b"context-{4:4}\r\n", b""),
    ],
)
def test_every_other_lock_that_sleeps_too_deep_is_a_splat(old: bytes, new: bytes) -> None:
    detector = SplatDetector()
    with pytest.raises(KernelFault, match="BUG: Invalid wait context"):
        detector.feed(WAITS.replace(old, new) + STACK)
