# SPDX-License-Identifier: GPL-2.0-only
"""The Debian suites that the tools of a container can be from: compiler, QEMU, gdb, busybox."""

from __future__ import annotations

from kstep.base.errors import RequestError

USUAL = "bookworm"  # of a container, if no suite is asked for
SUITES = ("bookworm", "trixie", "forky", "sid")  # bullseye's QEMU and Python are too old


def require_suite(name: str) -> str:
    """Return the name of a suite; raises RequestError if there is none, or it is too old."""
    if name not in SUITES:
        raise RequestError(f"--suite {name}: must be one of {', '.join(SUITES)}")
    return name
