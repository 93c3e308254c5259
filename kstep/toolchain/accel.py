# SPDX-License-Identifier: GPL-2.0-only
"""What runs the guest's instructions: QEMU's translator (TCG), or KVM on an arm64 CPU.

That CPU is this host's, or one that QEMU emulates: an emulated arm64 host (``machine.nested``).
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kstep.base.errors import MachineryError, RequestError

DEVICE = Path("/dev/kvm")


class Accel(StrEnum):
    """Its name."""

    TCG = "tcg"
    KVM = "kvm"
    EMULATED_KVM = "emulated-kvm"

    @property
    def option(self) -> str:
        """QEMU's -accel."""
        return Accel.TCG if self is Accel.TCG else Accel.KVM

    @property
    def devices(self) -> tuple[Path, ...]:
        """The devices of the host that QEMU opens for it."""
        return (DEVICE,) if self is Accel.KVM else ()


@dataclass(frozen=True)
class Choice:
    """The accelerator that was chosen, and why.

    ``suite`` is the Debian suite of the emulated host, "" for that of the toolchain.
    """

    accel: Accel
    why: str
    suite: str = ""


def choose(asked: str) -> Choice:
    """Return the accelerator for ``auto``, ``kvm``, ``tcg`` or ``emulated-kvm[:SUITE]``.

    Raises RequestError for another word, MachineryError if the host's KVM is requested and not
    available.
    """
    name, colon, suite = asked.partition(":")
    if name == Accel.EMULATED_KVM and (not colon or re.fullmatch(r"[a-z]+", suite)):
        return Choice(Accel.EMULATED_KVM, "requested", suite)
    if asked not in ("auto", Accel.KVM, Accel.TCG):
        raise RequestError(
            f"--accel {asked}: must be auto, kvm, tcg, emulated-kvm or emulated-kvm:SUITE (a"
            " Debian suite, such as emulated-kvm:trixie)"
        )
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
