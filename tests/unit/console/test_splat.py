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
]
HARMLESS = [
    b"[    0.000000] rcu: \tRCU calculated value of scheduler-enlistment delay is 100 jiffies.",
    b"[    0.152016] KGDB: Registered I/O driver kgdboc",
    b"Entering kdb (current=0xffff000000a11800, pid 23) on processor 0 due to SS trap @ 0xff",
    b"rcu: INFO: all is well",
    b"debug: warning",
    b"stall",
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


def test_a_line_that_is_provoked_counts_once_however_often_it_complains() -> None:
    detector = SplatDetector()
    detector.provoked = {b"Internal error": 0, b"Catastrophic": 0}
    detector.feed(b"[    1.5] Internal error: Oops - BUG: 00000000f2000800 [#1] PREEMPT SMP\r\n")
    detector.feed(b"Catastrophic error detected\r\nCatastrophic error detected\r\n")
    assert detector.provoked == {b"Internal error": 1, b"Catastrophic": 2}
