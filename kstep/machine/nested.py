# SPDX-License-Identifier: GPL-2.0-only
"""A guest of an emulated arm64 host, under the KVM of that host."""

from __future__ import annotations

import shlex
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from kstep.base.errors import MachineryError
from kstep.console.console import Console
from kstep.machine import emulated_host
from kstep.machine.emulated_host import FREQUENCY
from kstep.machine.qemu import QemuMachine
from kstep.machine.qmp import LINE, Monitor
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from pathlib import Path

    from kstep.build.kernel import Kernel
    from kstep.machine.emulated_host import EmulatedHost
    from kstep.machine.hardware import Hardware

BOOT = 300.0  # seconds; it takes 5 to 15 on a machine that has ten times the work it can do
DRAINED = 10.0  # seconds within which the monitor's events are read at the end
QUIET = 90.0  # seconds of a boot without output: the host reads the kernel, and starts QEMU
IMAGE, INITRAMFS = "Image", "initramfs"  # in the folder that the host shares
CELL = 1 << 32  # a number in a device tree is less; fdtput cuts off the rest
TREE = "/tmp/guest.dtb"  # noqa: S108 -- the host's own
# The guest believes its device tree, not CNTFRQ_EL0 (arch_timer_of_configure_rate() in
# drivers/clocksource/arm_arch_timer.c): with D times the frequency its clock is D times slower.
DILATED = """\
{dump}
fdtput -t i {tree} /timer clock-frequency {frequency}
"""
SCRIPT = """\
set -e
cd "$kstep_share"
{dilated}exec {command}
"""
# In double quotes, because some words are the script's own variables.
BY_HAND = """\
#!/bin/sh
# Boots an emulated arm64 host, and in it the same guest as kstep did for this cell, with its
# serial line on this terminal: Ctrl-A x ends both. It takes some 10 seconds until the guest prints.
# The QEMU that kstep ran, and that of the host, are named in results.json.
set -eu
host={image}
host_initramfs={archive}
share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
cp {kernel} "$share/Image"
cp {initramfs} "$share/initramfs"
cat > "$share/guest" << 'END'
{script}END
{command}
"""


class NestedMachine(QemuMachine):
    """A guest in ``host``, which must be running and have no other guest."""

    quiet = QUIET

    def __init__(
        self, kernel: Kernel, initramfs: Path, hardware: Hardware, host: EmulatedHost
    ) -> None:
        super().__init__(kernel, initramfs, hardware, host.toolchain, Accel.EMULATED_KVM)
        self.host = host

    @property
    def longest_boot(self) -> float:
        """Seconds for QEMU in the host to start and the guest to be ready."""
        return BOOT

    def __enter__(self) -> Self:
        self.kernel.require_undamaged()
        self.host.require_alive()
        with ExitStack() as stack:
            self.host.flush()
            self.serial = self.host.line
            self.console = Console(self.serial, self.require_alive, missed=lambda: self.missed)
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            # QEMU greets at its start, and nobody keeps the greeting for who comes later.
            connection.connect(str(self.host.monitor))
            self.monitor = stack.enter_context(Monitor(connection, self.host.share))
            self.host.start(self._script(), {IMAGE: self.kernel.image, INITRAMFS: self.initramfs})
            stack.callback(self.host.end_guest)
            # A port that was full when its guest ended may stay so for the next guest.
            stack.callback(self.monitor.drain, DRAINED)
            self._stack = stack.pop_all()
        return self

    def _script(self) -> str:
        ports = [
            *("-chardev", f"pipe,id={LINE},path={emulated_host.LINE}"),
            *("-serial", f"chardev:{LINE}"),
            *("-chardev", f"pipe,id=qmp,path={emulated_host.MONITOR}"),
            *("-mon", "chardev=qmp,mode=control"),
        ]
        dilated, tree = "", []
        if self.hardware.dilation != 1:
            frequency = FREQUENCY * self.hardware.dilation
            if frequency >= CELL:
                raise MachineryError(
                    f"a guest's clock cannot be slowed {self.hardware.dilation} times, but"
                    f" {(CELL - 1) // FREQUENCY}: its device tree has 32 bits for {frequency} Hz"
                )
            bare = [*self._bare(), "-machine", f"dumpdtb={TREE}"]
            dilated = DILATED.format(dump=shlex.join(bare), tree=TREE, frequency=frequency)
            tree = ["-dtb", TREE]
        return SCRIPT.format(
            dilated=dilated,
            command=shlex.join([*self._argv(ports, IMAGE, INITRAMFS), *tree]),
        )

    def require_alive(self) -> None:
        """Raise MachineryError if QEMU in the host has ended, or the host."""
        self.host.require_guest()

    def shortage(self) -> str:
        """Say how the host lacked CPU time of late; see Supply.shortage()."""
        return self.host.supply.shortage()

    @property
    def missed(self) -> float:
        """Seconds that the host lacked; see Supply.missed."""
        return self.host.supply.missed

    def open_gdbstub(self) -> Path:
        """Return the socket of QEMU's gdbstub, which stops the guest as soon as it is open."""
        self.monitor.stop_in_kernel()
        self.monitor.open_gdbserver(f"pipe:{emulated_host.GDBSTUB}")
        return self.host.gdbstub

    @property
    def by_hand(self) -> str:
        """A shell script that boots the host, and in it the guest with its line on the terminal."""
        image = self.host.image
        # A null chardev is never connected, and who writes to such a port waits for ever.
        backends = {name: f"file,id={name},path=/dev/null" for name in emulated_host.PORTS}
        backends["line"] = "stdio,id=line,mux=on,signal=off"
        argv = emulated_host.command(
            "$host", "$host_initramfs", backends, "$share", "null", " kstep_start=1"
        )
        return BY_HAND.format(
            image=shlex.quote(str(image.image)),
            archive=shlex.quote(str(image.archive)),
            kernel=shlex.quote(str(self.kernel.image)),
            initramfs=shlex.quote(str(self.initramfs)),
            script=self._script(),
            command=" \\\n    ".join(f'"{word}"' for word in argv),
        )
