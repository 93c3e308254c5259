# SPDX-License-Identifier: GPL-2.0-only
"""The subject of a session, from the record: the groups of a first overview."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstep.results.record import Record

# In the order of importance. Other areas come after these.
ORDER = (
    "steps",
    "resuming (go)",
    "break- and watchpoints",
    "preemption",
    "user space",
    "kdb and gdb",
)


def area(record: Record, session: str) -> str:
    """Return the area that a session states; empty if it states none, as in older runs."""
    found = record.sessions.get(session)
    return found.area if found else ""


def rank(name: str) -> tuple[int, str]:
    """Sort key of areas: those of ORDER, then others by name, and last the empty one."""
    return (ORDER.index(name) if name in ORDER else len(ORDER) + (not name), name)
