# SPDX-License-Identifier: GPL-2.0-only
"""Sessions, and the machines that their cases ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kstep.machine import Hardware
from kstep.session import Case, Session, Stepped


@dataclass(frozen=True)
class Equipped:
    """A case with hardware."""

    name: str
    hardware: Hardware


def a_session(*cases: Case) -> Session:
    return Session("s", "claim", print, cases, Hardware(cpus=2), Path("s.py"), 1)


def test_a_case_has_the_hardware_of_its_session_or_its_own() -> None:
    old = Hardware(cpu="cortex-a57")
    made = a_session(Stepped("f", "cmd", "a leaf"), Equipped("old", old))
    assert made.hardware_for("f") == Hardware(cpus=2)
    assert made.hardware_for("old") == old
    assert a_session().hardware_for(None) == Hardware(cpus=2)
