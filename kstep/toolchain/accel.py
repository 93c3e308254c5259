# SPDX-License-Identifier: GPL-2.0-only
"""What runs the guest's instructions: QEMU's translator (TCG), or the host's CPU (KVM)."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kstep.base.errors import MachineryError, RequestError

DEVICE = Path("/dev/kvm")


class Accel(StrEnum):
    """QEMU's -accel."""

    TCG = "tcg"
    KVM = "kvm"

    @property
    def devices(self) -> tuple[Path, ...]:
        """The devices of the host that QEMU opens for it."""
        return (DEVICE,) if self is Accel.KVM else ()


@dataclass(frozen=True)
class Choice:
    """The accelerator that was chosen, and why."""

    accel: Accel
    why: str


def choose(asked: str) -> Choice:
    """Return the accelerator for ``auto``, ``kvm`` or ``tcg`` on this host.

    Raises RequestError for another word, MachineryError if KVM is requested and not available.
    """
    if asked not in ("auto", *Accel):
        raise RequestError(f"--accel {asked}: must be auto, kvm or tcg")
    if asked == Accel.TCG:
        return Choice(Accel.TCG, "requested")
    lacking = _lacking()
    if not lacking:
        why = "requested" if asked == Accel.KVM else f"an arm64 host with {DEVICE}"
        return Choice(Accel.KVM, why)
    if asked == Accel.KVM:
        raise MachineryError(f"--accel kvm: {lacking}; use --accel tcg")
    return Choice(Accel.TCG, f"no KVM for arm64: {lacking}")


def _lacking() -> str:
    """Say why KVM cannot run an arm64 guest here; "" if it can."""
    if platform.machine() not in ("aarch64", "arm64"):
        return f"this host is {platform.machine()}"
    if not DEVICE.exists():
        return f"there is no {DEVICE}"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"this user cannot open {DEVICE}"
    return ""
