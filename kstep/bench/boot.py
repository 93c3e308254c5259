# SPDX-License-Identifier: GPL-2.0-only
"""How long a boot takes, and how much of it is QEMU's own."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from kstep.base import temporary
from kstep.base.pty import Pty
from kstep.console.shell import READY
from kstep.machine.hardware import Hardware

if TYPE_CHECKING:
    from kstep.build.kernel import Kernel
    from kstep.run.preparation import Prepared

ROUNDS = 3
NOTED = 'date +%s%N > "$0"; exec "$@"'  # the moment at which QEMU starts, in its container too


def boot_over_qemu(prepared: Prepared, kernel: Kernel) -> float:
    """Compare a worker's boots with QEMU's own time until init speaks; medians, in turns."""
    with prepared.toolchain.kept():
        taken = [(ours(prepared, kernel), alone(prepared, kernel)) for _ in range(ROUNDS)]
    by_kstep = statistics.median(each for each, _ in taken)
    return by_kstep / statistics.median(each for _, each in taken)


def ours(prepared: Prepared, kernel: Kernel) -> float:
    """Return the seconds from asking for a machine to a guest that takes commands."""
    began = time.perf_counter()
    with prepared.machine(kernel, Hardware()) as machine:
        machine.boot()
        return time.perf_counter() - began


def alone(prepared: Prepared, kernel: Kernel) -> float:
    """Return the seconds from the start of QEMU's process to init's line, with a plain loop."""
    machine, tools = prepared.machine(kernel, Hardware()), prepared.toolchain
    with ExitStack() as stack:
        scratch = tools.own(Path(stack.enter_context(temporary.folder())))
        line = Pty.open(stack)
        argv = machine.argv(tools.inside(line.path), scratch)
        process = tools.spawn(
            ["sh", "-c", NOTED, f"{scratch}/began", *argv],
            readable=[kernel.folder, prepared.initramfs.path.parent],
            writable=[scratch],
            lines=[line.path],
            devices=prepared.accel.devices,
        )
        stack.callback(process.kill)
        heard = b""
        while not READY.search(heard):
            heard += os.read(line.near, 65536)
        return time.time() - int((scratch / "began").read_text()) / 1e9
