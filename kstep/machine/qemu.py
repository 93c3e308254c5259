# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU machine that boots a kernel, and is always ended.

Its serial line is a pty of the host, opened here and passed to QEMU, which may run in a
container; so a terminal program or gdb can use the same line.
"""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.console.console import Console
from kstep.machine import memory
from kstep.machine.boot import UP_OR_DOWN, UP_OR_PANIC, await_up
from kstep.machine.capability import Capability, Offer
from kstep.machine.hardware import Hardware
from kstep.machine.interface import Machine
from kstep.machine.line import ONLY_EMULATED
from kstep.machine.qmp import LINE, Monitor
from kstep.machine.recorder import Recorder
from kstep.machine.supply import supplied
from kstep.toolchain.accel import Accel

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kstep.build.kernel import Kernel
    from kstep.machine.execution import Execution
    from kstep.machine.memory import Memory
    from kstep.results.transcript import Transcript
    from kstep.toolchain import Process, Toolchain

BOOT = 90.0  # seconds for QEMU to start and the guest to be ready
QUIET = 20.0  # seconds of a boot without output; ten times a usual boot
USUAL_BOOT = 2.0  # seconds of a boot on an idle host of 2024
MOST_SCALE = 10.0  # no host is slower than that; then something else is wrong
MEMORY = 512  # MiB
PAGE = 4096
GDBSTUB = "gdb"  # its socket, in the folder of the machine

VARIABLES = ("$kernel", "$initramfs")
BY_HAND = """\
#!/bin/sh
# Boots the same machine as kstep did for this cell, with the serial line on this terminal:
# Ctrl-A x ends it, Ctrl-A c is QEMU's monitor (and back), Ctrl-A b sends BREAK.
# The QEMU that kstep ran is named in results.json, under toolchain.
#
# kstep itself used these options instead of -serial mon:stdio; PTY is its end of the serial
# line and FOLDER a folder for sockets (QEMU's monitor and gdbstub; -s opens it on TCP):
#   -chardev serial,id={line},path=PTY
#   -serial chardev:{line}
#   -qmp unix:FOLDER/qmp,server=on,wait=off
#   -gdb unix:path=FOLDER/{gdbstub},server=on,wait=off
#   -object memory-backend-file,id=ram,size=512M,mem-path=FILE,share=on -machine memory-backend=ram
set -eu
kernel={kernel}
initramfs={initramfs}
exec {command}
"""


HOST_CPU = "with KVM the guest has the host's CPU"
NO_TRANSLATOR = "with KVM QEMU does not see what the guest executes"
KVM_LACKS = {
    Capability.CPU_MODEL: HOST_CPU,
    Capability.EL2: "KVM itself uses EL2",
    Capability.EXECUTION_LOG: NO_TRANSLATOR,
    Capability.EXECUTION_RECORD: NO_TRANSLATOR,
    Capability.GDBSTUB_MASKS: "KVM steps with interrupts on",
}
OFFERS = {
    Accel.TCG: Offer(
        "QEMU",
        frozenset(Capability) - {Capability.DILATION, Capability.GDBSTUB_BY_KVM},
        {Capability.DILATION: ONLY_EMULATED, Capability.GDBSTUB_BY_KVM: "this is not KVM"},
    ),
    Accel.KVM: Offer(
        "QEMU with KVM",
        frozenset(Capability) - {Capability.DILATION, *KVM_LACKS},
        {Capability.DILATION: ONLY_EMULATED, **KVM_LACKS},
    ),
    Accel.EMULATED_KVM: Offer(
        "QEMU with KVM on an emulated host", frozenset(Capability) - {*KVM_LACKS}, KVM_LACKS
    ),
}


class QemuMachine(Machine):
    """A QEMU of the toolchain; its scale is the ratio of its boot time to the usual one."""

    chunk = PAGE
    quiet = QUIET

    def __init__(
        self,
        kernel: Kernel,
        initramfs: Path,
        hardware: Hardware,
        toolchain: Toolchain,
        accel: Accel,
    ) -> None:
        super().__init__(kernel, hardware, toolchain)
        self.initramfs = initramfs
        self.accel = accel
        self._recorder: Recorder | None = None
        self._memory: Memory | None = None

    @property
    def offer(self) -> Offer:
        """The capabilities of its accelerator."""
        return OFFERS[self.accel]

    @property
    def longest_boot(self) -> float:
        """Seconds for QEMU to start and the guest to be ready."""
        return BOOT

    @property
    def shares_memory(self) -> bool:
        """Whether a read takes microseconds."""
        return self._memory is not None

    def __enter__(self) -> Self:
        self.kernel.require_undamaged()
        with ExitStack() as stack:
            bay = stack.enter_context(
                self.toolchain.bay([self.kernel.folder, self.initramfs.parent], self.accel.devices)
            )
            self._scratch = bay.folder
            if self.hardware.recorded:
                self._recorder = Recorder.put(self._scratch, self.kernel.system_map, self.toolchain)
            monitor = Monitor(self._scratch / "qmp", self._scratch)
            self._memory = stack.enter_context(
                memory.shared(self.kernel, MEMORY, monitor, bay.in_memory, self.toolchain.own)
            )
            self.serial = bay.line.near
            self.console = Console(self.serial, self.require_alive, missed=lambda: self.missed)
            self._process: Process = bay.spawn(self.argv(bay.path, self._scratch))
            stack.callback(self._process.kill)
            self._supply = stack.enter_context(supplied(self._process.processes))
            self.monitor = stack.enter_context(monitor)
            self._stack = stack.pop_all()
        return self

    def argv(self, serial: Path, scratch: Path) -> list[str]:
        """Return QEMU's command line."""
        line = [
            *("-chardev", f"serial,id={LINE},path={serial}"),
            *("-serial", f"chardev:{LINE}"),
            *("-qmp", f"unix:{scratch}/qmp,server=on,wait=off"),
            *("-gdb", f"unix:path={scratch}/{GDBSTUB},server=on,wait=off"),
            *(self._memory.argv if self._memory else ()),
            *(self._recorder.argv if self._recorder else ()),
        ]
        return self._argv(line, str(self.kernel.image), str(self.initramfs))

    def _argv(self, line: list[str], image: str, initramfs: str) -> list[str]:
        parameters = "console=ttyAMA0 kgdboc=ttyAMA0 nokaslr"
        if not self.hardware.kgdboc:
            parameters = "console=ttyAMA0 nokaslr"
        return [
            *self._bare(),
            *line,
            *("-kernel", image),
            *("-initrd", initramfs),
            *("-append", f"{parameters} {self.hardware.parameters}".rstrip()),
        ]

    def _bare(self) -> list[str]:
        """Return QEMU's command line without lines and software."""
        hardware = self.hardware
        cpu, gic = hardware.cpu, "3"
        if self.accel is not Accel.TCG:
            if cpu != Hardware.cpu:
                raise MachineryError(f"KVM cannot emulate a {cpu}: the guest has the host's CPU")
            if hardware.el2:
                raise MachineryError("KVM cannot start a guest at EL2, which it uses itself")
            cpu, gic = "host", "host"
        virtualization = ",virtualization=on" if hardware.el2 else ""
        return [
            "qemu-system-aarch64",
            *("-machine", f"virt,gic-version={gic}{virtualization}"),
            *("-accel", self.accel.option),
            *("-cpu", cpu),
            *("-smp", str(hardware.cpus)),
            *("-m", str(MEMORY)),
            *("-display", "none"),
            "-nodefaults",
            "-no-reboot",
        ]

    @property
    def by_hand(self) -> str:
        """A shell script that boots the same machine, with the serial line on its terminal."""
        first, *options = self._argv(["-serial", "mon:stdio"], "$kernel", "$initramfs")
        return BY_HAND.format(
            kernel=shlex.quote(str(self.kernel.image)),
            initramfs=shlex.quote(str(self.initramfs)),
            gdbstub=GDBSTUB,
            line=LINE,
            command=" \\\n    ".join([first, *_lines(options)]),
        )

    def boot(self, transcript: Transcript | None = None) -> None:
        """Wait until the guest accepts commands, or waits for a debugger if it should.

        Raises as await_up() does.
        """
        self.console.transcript = transcript
        deadline = self.console.deadline(self.longest_boot)
        waits = self.hardware.waits
        pattern = UP_OR_DOWN if self.hardware.kgdboc else UP_OR_PANIC
        match = await_up(self.console, pattern, self.quiet, deadline, waits=waits)
        if self._memory:
            self._memory.unlink()
        if match["down"]:
            self.stopped = match.string
        self.boot_seconds = time.monotonic() - self.began
        self.scale = min(max(self.boot_seconds / USUAL_BOOT, 1.0), MOST_SCALE)

    def open_gdbstub(self) -> Path:
        """Return the socket of QEMU's own gdbstub, which is open from the start."""
        if self.accel is not Accel.TCG:  # whose breakpoints need no memory
            self.monitor.stop_in_kernel()
        return self._scratch / GDBSTUB

    def require_alive(self) -> None:
        """Raise MachineryError if QEMU has ended."""
        if not self._process.alive():
            said = self._process.output().strip().splitlines()[-5:]
            raise MachineryError("QEMU ended", Signature.MACHINE_DIED, tuple(said))

    def shortage(self) -> str:
        """Say how QEMU lacked CPU time of late; see Supply.shortage()."""
        return self._supply.shortage()

    @property
    def missed(self) -> float:
        """Seconds that QEMU lacked; see Supply.missed."""
        return self._supply.missed

    def send_break(self) -> None:
        """Send a BREAK on the serial line; see Monitor.send_break()."""
        self.monitor.send_break()

    def read(self, address: int, size: int) -> bytes:
        """Read the guest's memory; see Monitor.read()."""
        found = self._memory.read(address, size) if self._memory else None
        return self.monitor.read(address, size) if found is None else found

    def read_physical(self, address: int, size: int) -> bytes:
        """Read the guest's memory; see Monitor.read_physical()."""
        return self.monitor.read_physical(address, size)

    def resets(self, cause: Callable[[], None], seconds: float) -> bool:
        """Whether the guest resets the machine; see Monitor.resets()."""
        return self.monitor.resets(cause, seconds)

    def executed(self) -> AbstractContextManager[set[int]]:
        """Collect what the guest executes in the block; see Monitor.executed()."""
        return self.monitor.executed()

    def execution(self, cpu: int) -> Execution:
        """Return what a CPU executed in its last step; see Recorder.execution()."""
        if self._recorder is None:
            raise MachineryError("this machine was started without a recorder")
        return self._recorder.execution(cpu)


def _lines(options: list[str]) -> list[str]:
    """Put each option and its value on one line, quoted for a shell."""
    lines: list[str] = []
    for word in options:
        quoted = f'"{word}"' if word in VARIABLES else shlex.quote(word)
        if word.startswith("-"):
            lines.append(quoted)
        else:
            lines[-1] += f" {quoted}"
    return lines
