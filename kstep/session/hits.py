# SPDX-License-Identifier: GPL-2.0-only
"""Hits of breakpoints and watchpoints, compared with the true number."""

from __future__ import annotations

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature


def must_not_be_missed(hits: int, due: int, what: str, share: float = 1.0) -> None:
    """Raise KernelFault ``missed-hits`` if less than a ``share`` of ``due`` hits was counted.

    MachineryError if there was nothing to count, as on a host that lets no task run in time.
    """
    if not hits and due <= 0:
        raise MachineryError(f"there were no {what}, so there is no hit to count")
    if hits < share * due:
        raise KernelFault(Signature.MISSED_HITS, f"{hits} hits counted for {due} {what}")


def must_be_exact(hits: int, due: int, what: str, share: float = 1.0) -> None:
    """Raise KernelFault ``missed-hits`` or ``double-hits`` if the number is wrong."""
    must_not_be_missed(hits, due, what, share)
    if hits > due:
        raise KernelFault(Signature.DOUBLE_HITS, f"{hits} hits counted for {due} {what}")
