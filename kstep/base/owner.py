# SPDX-License-Identifier: GPL-2.0-only
"""The unique name of the process that something belongs to.

A PID alone may be that of another process: later, in another container, after a reboot or on
another machine. A name has the PID, the start time of the process, and the scope of the PID:
the boot and the PID namespace.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

SCOPE = 6  # hexadecimal digits: the names are in the paths of sockets, which must be short
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # drivers/char/random.c: new at every boot
ENDED = ("Z", "X")  # states of a process that has ended and is not reaped (proc(5))


def name(pid: int | None = None) -> str:
    """Name a process of this PID namespace, by default this one; "" if it has ended.

    The name is made of hexadecimal digits and dashes.
    """
    number = os.getpid() if pid is None else pid
    started = _started(number)
    return "" if started is None else f"{number:x}-{started:x}-{_scope()}"


def is_gone(owner: str) -> bool:
    """Whether the process of that name is known to have ended.

    False for one of another machine, boot or PID namespace, which is unknown here.
    """
    number, _, rest = owner.partition("-")
    if not rest.endswith(f"-{_scope()}"):
        return False
    try:
        pid = int(number, 16)
    except ValueError:
        return False
    return name(pid) != owner


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; None if it has ended.

    The 22nd field of /proc/PID/stat; the 2nd, in parentheses, may hold blanks (proc(5)).
    """
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in ENDED else int(fields[18])


@functools.cache
def _scope() -> str:
    boot = BOOT_ID.read_text().strip()
    namespace = Path("/proc/self/ns/pid").readlink()  # pid_namespaces(7)
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:SCOPE]
