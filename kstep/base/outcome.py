# SPDX-License-Identifier: GPL-2.0-only
"""The outcome of a cell, and the one word that says how it failed."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of one cell."""

    PASS = "pass"  # noqa: S105 -- not a password
    FAIL = "fail"  # the kernel is at fault
    ERROR = "error"  # kstep or the machine is at fault: no verdict


class Signature(StrEnum):
    """How a cell failed."""

    STUCK = "stuck"  # the same PC again
    ENTERS_INTERRUPT = "enters-interrupt"
    ENTERS_EXCEPTION = "enters-exception"
    OFF_ORDER = "off-order"
    RUNAWAY = "runaway"  # the step never came back
    REHIT = "rehit"  # a breakpoint hits again without being reached again
    STEP_FLOOD = "step-flood"  # unexpected step exceptions
    LOST_PREEMPTION = "lost-preemption"
    MISSED_HITS = "missed-hits"
    DOUBLE_HITS = "double-hits"
    MASKED_INTERRUPTS = "masked-interrupts"
    LIVELOCK = "livelock"
    WRONG_REGISTERS = "wrong-registers"
    WRONG_MEMORY = "wrong-memory"
    WRONG_RESULT = "wrong-result"  # a command's result, or a value shown, is wrong
    SPLAT = "splat"  # the kernel printed a warning or an oops
    PANIC = "panic"
    HANG = "hang"

    # for Outcome.ERROR
    NO_BOOT = "no-boot"
    CONSOLE_LOST = "console-lost"
    MACHINE_DIED = "machine-died"
    INFRASTRUCTURE = "infrastructure"


class KernelFault(Exception):  # noqa: N818 -- a finding, not an error of kstep
    """A fault of the kernel: its signature, and a sentence about what happened."""

    def __init__(self, signature: Signature, message: str) -> None:
        super().__init__(message)
        self.signature = signature
