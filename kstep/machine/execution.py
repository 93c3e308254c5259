# SPDX-License-Identifier: GPL-2.0-only
"""What a CPU executed between a resume and the next stop, as the emulator saw it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interruption:
    """An exception that interrupted what is stepped: its vector, and how many instructions it ran.

    ``instructions`` counts those of nested exceptions too; it is None if it did not return. An
    ``abort`` is of the instruction before it, which is executed again.
    """

    vector: int
    instructions: int | None
    abort: bool = False


@dataclass(frozen=True)
class Execution:
    """What a CPU did from a resume to the next stop of kgdb.

    ``events`` has the address of each instruction of the resumed context (int), and the exceptions
    that interrupted it, in order; the last exception is kgdb's own. ``level`` is the number of
    exceptions above that context at the stop, kgdb's included. ``whole`` is False if the context
    ran on for longer than is recorded.
    """

    events: tuple[int | Interruption, ...]
    level: int
    whole: bool = True

    @property
    def interruptions(self) -> tuple[Interruption, ...]:
        """The exceptions that interrupted it, without kgdb's own."""
        found = tuple(each for each in self.events if isinstance(each, Interruption))
        return found[:-1] if found and found[-1].instructions is None else found
