# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU machine with a kernel in it: started, looked into, and always ended.

Its serial line is a pty of this machine, opened here and handed to QEMU, which may run
in a container; so a terminal program or gdb can use the same line.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import tempfile
import time
import tty
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.console import Console, SilenceError
from kstep.console.shell import READY
from kstep.machine.hardware import Hardware
from kstep.machine.qmp import LINE, Monitor
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from types import TracebackType

    from kstep.build.kernel import Kernel
    from kstep.results.transcript import Transcript
    from kstep.toolchain import Process, Toolchain

BOOT = 90.0  # seconds for QEMU to start and the guest to be ready
QUIET = 20.0  # seconds of a boot without a word; ten times what a whole one usually takes
USUAL_BOOT = 2.0  # seconds that this takes on an idle machine of 2024
MOST_SCALE = 10.0  # no machine is that much slower; then something else is wrong
PAGE = 4096
GDBSTUB = "gdb"  # its socket, in the folder of the machine

# What ends a boot: the guest's word, or the kernel's last one (kernel/panic.c; kdb is
# entered by a panic and an oops, and nobody has set a breakpoint yet).
PANIC = rb"---\[ end Kernel panic[^\n]*\n"
UP_OR_DOWN = re.compile(
    READY.pattern + rb"|(?P<down>" + PANIC + rb"|(?P<prompt>(\[\d+\])?(kdb|more)> \Z))"
)
UP_OR_PANIC = re.compile(READY.pattern + rb"|(?P<down>" + PANIC + rb")")
LAST_LINES = 12


class Machine(AbstractContextManager["Machine"]):
    """One boot. ``boot_seconds`` runs from QEMU's start to the guest's word that it is ready.

    ``scale`` is what every timeout is stretched by: the boot's time over the usual one.
    """

    chunk = PAGE  # bytes that are best read at once

    def __init__(
        self,
        kernel: Kernel,
        initramfs: Path,
        hardware: Hardware,
        toolchain: Toolchain,
        accel: Accel,
    ) -> None:
        self.kernel = kernel
        self.initramfs = initramfs
        self.hardware = hardware
        self.toolchain = toolchain
        self.accel = accel
        self.boot_seconds = 0.0
        self.scale = 1.0
        self.stopped = b""  # what was said up to where the boot waits for a debugger
        self.began = time.monotonic()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._scratch = Path(tempfile.mkdtemp(prefix="kstep-"))
            stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
            self._scratch.chmod(0o700)
            self.toolchain.own(self._scratch)
            master, slave = pty.openpty()
            stack.callback(os.close, master)
            stack.callback(os.close, slave)  # kept open, so that the line outlives QEMU
            tty.setraw(slave)
            self.pty = Path(os.ttyname(slave))
            self.serial = master
            self.console = Console(master, self.require_alive)
            self._process: Process = self.toolchain.spawn(
                self.argv(self.toolchain.inside(self.pty), self._scratch),
                readable=[self.kernel.folder, self.initramfs.parent],
                writable=[self._scratch],
                lines=[self.pty],
                devices=self.accel.devices,
            )
            stack.callback(self._process.kill)
            self.monitor = stack.enter_context(Monitor(self._scratch / "qmp", self._scratch))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def argv(self, serial: Path, scratch: Path) -> list[str]:
        """Return QEMU's command line."""
        hardware = self.hardware
        cpu, gic = hardware.cpu, "3"
        if self.accel is Accel.KVM:
            if cpu != Hardware.cpu:
                raise MachineryError(f"a {cpu} is not to be had with KVM, which has the host's")
            if hardware.el2:
                raise MachineryError("EL2 is not to be had with KVM, which has it for itself")
            cpu, gic = "host", "host"
        virtualization = ",virtualization=on" if hardware.el2 else ""
        parameters = "console=ttyAMA0 kgdboc=ttyAMA0 nokaslr"
        if not hardware.kgdboc:
            parameters = "console=ttyAMA0 nokaslr"
        return [
            "qemu-system-aarch64",
            *("-machine", f"virt,gic-version={gic}{virtualization}"),
            *("-accel", self.accel),
            *("-cpu", cpu),
            *("-smp", str(hardware.cpus)),
            *("-m", "512"),
            *("-display", "none"),
            "-nodefaults",
            "-no-reboot",
            *("-chardev", f"serial,id={LINE},path={serial}"),
            *("-serial", f"chardev:{LINE}"),
            *("-qmp", f"unix:{scratch}/qmp,server=on,wait=off"),
            *("-gdb", f"unix:path={scratch}/{GDBSTUB},server=on,wait=off"),
            *("-kernel", str(self.kernel.image)),
            *("-initrd", str(self.initramfs)),
            *("-append", f"{parameters} {hardware.parameters}".rstrip()),
        ]

    def boot(self, transcript: Transcript | None = None) -> None:
        """Wait until the guest takes commands, or waits for a debugger where it is to.

        Raises MachineryError ``no-boot`` with the last lines of the console, and where the
        guest comes up after the kernel complained, what the console's ``on_text`` raised.
        """
        self.console.transcript = transcript
        complaint: KernelFault | None = None
        heard = 0
        deadline = Deadline.after(BOOT)
        while True:
            try:
                match = self.console.expect(
                    UP_OR_DOWN if self.hardware.kgdboc else UP_OR_PANIC,
                    "word from the guest that it is ready",
                    Deadline.after(min(QUIET, deadline.left)),
                )
                break
            except KernelFault as fault:
                complaint, self.console.on_text = fault, None  # whether it boots all the same
            except SilenceError as error:
                if len(error.heard) > heard and deadline.left:
                    heard = len(error.heard)
                    continue
                raise _no_boot(complaint or error, error.heard) from error
        if self.hardware.waits and match["prompt"]:
            self.stopped = match.string
        elif match["down"]:
            raise _no_boot(complaint or "it ends in the debugger", match.string)
        if complaint is not None:
            raise complaint
        self.boot_seconds = time.monotonic() - self.began
        self.scale = min(max(self.boot_seconds / USUAL_BOOT, 1.0), MOST_SCALE)

    @property
    def gdbstub(self) -> Path:
        """The socket at which QEMU's own stub waits for a gdb."""
        return self._scratch / GDBSTUB

    def require_alive(self) -> None:
        """Raise MachineryError where QEMU is gone."""
        if not self._process.alive():
            said = self._process.output().strip().splitlines()[-5:]
            raise MachineryError("QEMU ended", Signature.MACHINE_DIED, tuple(said))

    def send_break(self) -> None:
        """Send a BREAK on the serial line."""
        self.monitor.send_break()

    def read(self, address: int, size: int) -> bytes:
        """Read the guest's memory; see Monitor.read()."""
        return self.monitor.read(address, size)

    def read_physical(self, address: int, size: int) -> bytes:
        """Read the guest's memory; see Monitor.read_physical()."""
        return self.monitor.read_physical(address, size)


def _no_boot(why: object, console: bytes) -> MachineryError:
    lines = console.decode(errors="replace").replace("\r", "").splitlines()[-LAST_LINES:]
    return MachineryError(
        f"the kernel does not boot: {why}",
        Signature.NO_BOOT,
        tuple(lines) or ("it said nothing",),
    )
