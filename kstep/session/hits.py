# SPDX-License-Identifier: GPL-2.0-only
"""Hits of break- and watchpoints, compared with how often there was one to be counted."""

from __future__ import annotations

from kstep.base.outcome import KernelFault, Signature


def must_not_be_missed(hits: int, due: int, what: str, share: float = 1.0) -> None:
    """Raise KernelFault ``missed-hits`` where less than a ``share`` of what was due was counted."""
    if hits < share * due:
        raise KernelFault(Signature.MISSED_HITS, f"{hits} hits were counted of {due} {what}")


def must_be_exact(hits: int, due: int, what: str, share: float = 1.0) -> None:
    """Raise KernelFault ``missed-hits`` or ``double-hits`` where another number was counted."""
    must_not_be_missed(hits, due, what, share)
    if hits > due:
        raise KernelFault(Signature.DOUBLE_HITS, f"{hits} hits were counted of {due} {what}")
