# SPDX-License-Identifier: GPL-2.0-only
"""Checks: cases that are separate scripts; one boot serves many.

A check restores the guest, kdb and its breakpoints.
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

SHOWN = 200  # characters, at most, of a value in a message


@dataclass(frozen=True)
class Check:
    """A case whose claim is its script's docstring.

    ``requires`` is what it needs of a machine beyond what its session does, and why.
    """

    script: Callable[[Target], None]
    requires: Mapping[Capability, str] = field(default_factory=dict, kw_only=True)

    @property
    def name(self) -> str:
        """The script's name."""
        return self.script.__name__

    def run(self, target: Target) -> None:
        """Run the script; a command that kdb refuses is a fault."""
        try:
            self.script(target)
        except CommandRefusedError as error:
            raise KernelFault(Signature.WRONG_RESULT, str(error)) from error


@dataclass(frozen=True)
class Boot(Check):
    """A check with its own machine."""

    hardware: Hardware


def checks(*scripts: Callable[[Target], None]) -> tuple[Check, ...]:
    """Make cases from scripts."""
    return tuple(Check(script) for script in scripts)


def must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 -- the name says what it is
    """Raise KernelFault ``wrong-result``, with the message ``otherwise``, unless ``holds``."""
    if not holds:
        raise KernelFault(Signature.WRONG_RESULT, otherwise)


def must_be(shown: object, true: object, what: str) -> None:
    """Raise KernelFault ``wrong-result`` unless the shown value is the true one."""
    must(shown == true, f"{what}: {_short(shown)}, not {_short(true)}")


def _short(value: object) -> str:
    text = hex(value) if isinstance(value, int) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
