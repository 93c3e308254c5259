# SPDX-License-Identifier: GPL-2.0-only
"""An emulated arm64 host with KVM, and one guest after another in it.

It is a QEMU of the toolchain whose CPU has EL2 (virtualization=on), with Debian's kernel and
QEMU for arm64 (``build.emulated_host``). It has no network: the guest's serial line, monitor and
gdbstub are ports of a virtio console, whose other ends are here; files are in a folder that it
shares. With ``-icount shift=0,sleep=off`` an instruction of its CPU takes a nanosecond of its
time, whatever the load of this machine; so what a step takes in the guest's time can be repeated.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import tempfile
import termios
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kstep.base import temporary
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import Signature
from kstep.base.pty import Pty
from kstep.console.console import Console, SilenceError
from kstep.machine.coupling import Coupling
from kstep.machine.supply import Supply, supplied

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from kstep.build.emulated_host import HostImage
    from kstep.toolchain import Process, Toolchain

BOOT = 180.0  # seconds until the host is up; it takes four to six on an idle machine of 2024
ANSWER = 60.0  # seconds for the end of a guest
MEMORY = 1536  # MiB: the guest's 512, the initramfs twice, the kernel
CPU = "neoverse-n1"  # has VHE, so that KVM and the host run at EL2, and LSE atomics
FREQUENCY = 62_500_000  # Hz of the system counter: a tick takes 16 instructions
PORTS = ("control", "line", "qmp", "gdb")
LINE, MONITOR, GDBSTUB = (f"/dev/kstep.{name}" for name in PORTS[1:])  # in the host
GUEST, LOG = "guest", "guest.log"  # in the shared folder; tests/host/init
OVERHEAD = 512  # MiB of QEMU for translated code, and of kstep
AVAILABLE = re.compile(r"^MemAvailable: +(?P<kib>\d+) kB$", re.MULTILINE)
READY = re.compile(rb"(?P<ready>ready)\r?\n|no-kvm\r?\n")
IDLE = re.compile(rb"idle\r?\n")
ENDED = re.compile(rb"ended (?P<status>\d+)\r?\n")
LAST_LINES = 8


def require_memory(hosts: int) -> None:
    """Raise RequestError if this machine has no memory for so many hosts at a time.

    A machine that does not say how much it has (Documentation/filesystems/proc.rst) is trusted.
    """
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return
    match = AVAILABLE.search(text)
    if match is None:
        return
    each, available = MEMORY + OVERHEAD, int(match["kib"]) >> 10
    if available < hosts * each:
        fix = (
            f"use --jobs {available // each}"
            if available >= each
            else f"free {each - available} MiB, or use --accel tcg"
        )
        raise RequestError(
            f"--accel emulated-kvm: {hosts} emulated hosts at a time need {hosts * each} MiB, and"
            f" {available} are available; {fix}"
        )


def command(
    image: str,
    archive: str,
    backends: Mapping[str, str],
    share: str,
    serial: str,
    parameters: str = "",
) -> list[str]:
    """Return QEMU's command line for a host.

    ``backends`` has the chardev of each of PORTS, ``share`` is the folder that it shares,
    ``serial`` what QEMU does with its console.
    """
    ports: list[str] = []
    for number, name in enumerate(PORTS, 1):
        ports += ["-chardev", backends[name]]
        ports += ["-device", f"virtserialport,chardev={name},nr={number},name=kstep.{name}"]
    return [
        "qemu-system-aarch64",
        *("-machine", "virt,gic-version=3,virtualization=on"),
        *("-accel", "tcg,thread=single"),
        *("-icount", "shift=0,sleep=off"),
        *("-cpu", f"{CPU},cntfrq={FREQUENCY}"),
        *("-m", str(MEMORY)),
        *("-display", "none"),
        "-nodefaults",
        "-no-reboot",
        *("-serial", serial),
        *("-device", "virtio-serial-device"),
        *ports,
        *("-fsdev", f"local,id=share,path={share},security_model=none"),
        *("-device", "virtio-9p-device,fsdev=share,mount_tag=share"),
        *("-kernel", image),
        *("-initrd", archive),
        *("-append", f"console=ttyAMA0 panic=-1 kstep_share={share}{parameters}"),
    ]


class EmulatedHost(AbstractContextManager["EmulatedHost"]):
    """A running host: entered once, for any number of guests, and always ended.

    ``line`` is the descriptor of its guest's serial line; ``gdbstub`` and ``monitor`` are the
    sockets of its gdbstub, and of its monitor, which must be connected before the guest is started.
    """

    def __init__(self, image: HostImage, toolchain: Toolchain) -> None:
        self.image = image
        self.toolchain = toolchain
        self.broken = False  # whether it must not be used for another guest
        self._kept = ""  # its console, once its folder is gone
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.image.require_undamaged()
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix=temporary.prefix()))
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            stack.callback(self._keep_console)
            self.folder.chmod(0o700)
            self.share = self.folder / "share"
            self.share.mkdir(mode=0o700)
            for path in (self.folder, self.share):
                self.toolchain.own(path)
            control, line, gdb = (Pty.open(stack) for _ in range(3))
            self.line, self._flushed = line.near, (line.path, gdb.path)
            self.gdbstub = self.folder / "gdb"
            stack.enter_context(Coupling(self.gdbstub, gdb.near))
            self.toolchain.own(self.gdbstub)
            self.monitor = self.folder / "qmp"
            self._control = Console(
                control.near, self.require_alive, missed=lambda: self.supply.missed
            )
            self._process: Process = self.toolchain.spawn(
                self._argv({"control": control.path, "line": line.path, "gdb": gdb.path}),
                readable=[self.image.folder],
                writable=[self.folder],
                lines=[control.path, line.path, gdb.path],
            )
            stack.callback(self._process.kill)
            self.supply: Supply = stack.enter_context(supplied(self._process.processes))
            match = self._expect(READY, "word that it is up", BOOT)
            if not match["ready"]:
                raise MachineryError(
                    f"the emulated host ({self.image.described}) has no KVM: no /dev/kvm; name"
                    " another suite, such as --accel emulated-kvm:bookworm",
                    details=self.last_lines,
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _argv(self, ptys: Mapping[str, Path]) -> list[str]:
        backends = {
            name: f"serial,id={name},path={self.toolchain.inside(path)}"
            for name, path in ptys.items()
        }
        backends["qmp"] = f"socket,id=qmp,path={self.monitor},server=on,wait=off"
        serial, share = f"file:{self._console_log}", str(self.share)
        return command(str(self.image.image), str(self.image.archive), backends, share, serial)

    @property
    def _console_log(self) -> Path:
        return self.folder / "host.log"

    @property
    def console(self) -> str:
        """What the host's own kernel and init have printed."""
        if self._kept:
            return self._kept
        try:
            return self._console_log.read_text(errors="replace")
        except OSError:
            return ""

    def _keep_console(self) -> None:
        self._kept = self.console

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines of its console."""
        lines = [line for line in self.console.splitlines() if line.strip()]
        return tuple(lines[-LAST_LINES:]) or ("its console has printed nothing",)

    def require_alive(self) -> None:
        """Raise MachineryError if the host has ended."""
        if not self._process.alive():
            said = self._process.output().strip().splitlines()[-5:]
            raise MachineryError(
                "the emulated host ended", Signature.MACHINE_DIED, (*said, *self.last_lines)
            )

    def is_fit_for(self, image: HostImage) -> bool:
        """Whether it runs, and can have another guest on this image of a host."""
        return not self.broken and self.image == image and self._process.alive()

    def flush(self) -> None:
        """Drop what a guest before has left unread on its ports, in either direction."""
        for path in self._flushed:
            far = os.open(path, os.O_RDWR | os.O_NOCTTY)
            try:
                termios.tcflush(far, termios.TCIOFLUSH)
            finally:
                os.close(far)
        while select.select([self.line], [], [], 0)[0]:
            os.read(self.line, 1 << 16)

    def start(self, script: str, files: Mapping[str, Path]) -> None:
        """Start a guest by a shell script, which finds copies of ``files`` in the shared folder."""
        for name, path in files.items():
            shutil.copyfile(path, self.share / name)
        (self.share / GUEST).write_text(script)
        self._control.forget()
        self._control.send(b"start\n")

    def require_guest(self) -> None:
        """Raise MachineryError if the guest's QEMU has ended, or the host has."""
        self.require_alive()
        self._control.catch_up()
        if ENDED.search(self._control.heard):
            said = self._said()
            raise MachineryError(
                "QEMU in the emulated host ended", Signature.MACHINE_DIED, said[-5:]
            )

    def _said(self) -> tuple[str, ...]:
        try:
            return tuple((self.share / LOG).read_text(errors="replace").strip().splitlines())
        except OSError:
            return ()

    def end_guest(self) -> None:
        """End the guest, if there is one, and wait until its QEMU is gone.

        A host that does not do that is ``broken``.
        """
        try:
            self._control.send(b"end\n")
            self._expect(IDLE, "end of the guest", ANSWER)
        except MachineryError:
            self.broken = True

    def _expect(self, pattern: re.Pattern[bytes], what: str, seconds: float) -> re.Match[bytes]:
        try:
            return self._control.expect(pattern, what, self._control.deadline(seconds))
        except SilenceError as error:
            raise MachineryError(
                f"the emulated host: {error}{self._short()}",
                Signature.MACHINE_DIED,
                self.last_lines,
            ) from error

    def _short(self) -> str:
        short = self.supply.shortage()
        return f"; {short}" if short else ""


class EmulatedHosts(AbstractContextManager["EmulatedHosts"]):
    """The emulated host of a process: started when it is first needed, and kept until the end."""

    def __init__(self) -> None:
        self._host: EmulatedHost | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def running(self, image: HostImage, toolchain: Toolchain) -> EmulatedHost:
        """Return a running host of an image; a dead one, or one of another image, is replaced."""
        if self._host is not None and self._host.is_fit_for(image):
            return self._host
        self.end()
        self._host = EmulatedHost(image, toolchain)
        return self._host.__enter__()

    @property
    def console(self) -> str:
        """What the present host, or the last one, has printed; "" if there was none."""
        return "" if self._host is None else self._host.console

    def end(self) -> None:
        """End the host, if one runs."""
        if self._host is not None:
            self._host.__exit__(None, None, None)
            self._host.broken = True
