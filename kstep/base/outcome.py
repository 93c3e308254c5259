# SPDX-License-Identifier: GPL-2.0-only
"""The outcome of a cell, and the one word that says how it failed."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What one cell came to."""

    PASS = "pass"  # noqa: S105 -- no password
    FAIL = "fail"  # the kernel did wrong
    ERROR = "error"  # we or the machine did: no verdict


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
    WRONG_RESULT = "wrong-result"  # the stepped command came to another end than unstepped
    SPLAT = "splat"  # the kernel complained
    PANIC = "panic"
    HANG = "hang"

    # for Outcome.ERROR
    NO_BOOT = "no-boot"
    CONSOLE_LOST = "console-lost"
    MACHINE_DIED = "machine-died"
    INFRASTRUCTURE = "infrastructure"


class KernelFault(Exception):  # noqa: N818 -- it is a finding, not an error of ours
    """The kernel did wrong: how, in one word, and what was seen, in one sentence."""

    def __init__(self, signature: Signature, message: str) -> None:
        super().__init__(message)
        self.signature = signature
