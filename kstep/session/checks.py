# SPDX-License-Identifier: GPL-2.0-only
"""Checks: cases that are scripts of their own, where one boot serves many.

A check leaves the guest, kdb and its breakpoints as it found them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import CommandRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kstep.machine.capability import Capability
    from kstep.machine.hardware import Hardware
    from kstep.session.target import Target

SHOWN = 200  # characters, at the most, of a value in a message


@dataclass(frozen=True)
class Check:
    """A case whose claim stands in its script's docstring.

    ``requires`` is what it needs of a machine beyond what its session does, and why.
    """

    script: Callable[[Target], None]
    requires: Mapping[Capability, str] = field(default_factory=dict, kw_only=True)

    @property
    def name(self) -> str:
        """The script's name."""
        return self.script.__name__

    def run(self, target: Target) -> None:
        """Run the script; what kdb refuses it should have taken."""
        try:
            self.script(target)
        except CommandRefusedError as error:
            raise KernelFault(Signature.WRONG_RESULT, str(error)) from error


@dataclass(frozen=True)
class Boot(Check):
    """A check with a machine of its own."""

    hardware: Hardware


def checks(*scripts: Callable[[Target], None]) -> tuple[Check, ...]:
    """Make cases of scripts."""
    return tuple(Check(script) for script in scripts)


def must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 -- it is what the name says
    """Raise KernelFault ``wrong-result`` where something does not hold."""
    if not holds:
        raise KernelFault(Signature.WRONG_RESULT, otherwise)


def must_be(shown: object, true: object, what: str) -> None:
    """Raise KernelFault ``wrong-result`` where what is shown is not what is true."""
    must(shown == true, f"{what}: kdb has {_short(shown)}, and it is {_short(true)}")


def _short(value: object) -> str:
    text = hex(value) if isinstance(value, int) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
