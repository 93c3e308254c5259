# SPDX-License-Identifier: GPL-2.0-only
"""The serial line of an external machine: a serial port, TCP, or a program that has the line."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tty
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import serial
from ptyprocess import PtyProcess

from kstep.base.errors import MachineryError, RequestError
from kstep.machine.capability import Capability, Offer

if TYPE_CHECKING:
    from collections.abc import Sequence

BAUD = 115200
DELAY = re.compile(r"delay=(?P<ms>\d{1,3}),(?P<rest>(?s:.*))")
FORM = re.compile(
    r"serial:(?P<device>/[^@]+)(?:@(?P<baud>\d+))?"
    r"|tcp:(?P<host>[^:]+):(?P<port>\d+)"
    r"|exec:(?P<program>(?s:\s*\S.*))"
    r"|labgrid:(?P<place>[^\s-]\S*)"
)
FORMS = (
    "serial:/dev/ttyUSB0, serial:/dev/ttyUSB0@115200, tcp:HOST:PORT, labgrid:PLACE or"
    " exec:PROGRAM (a program that shows the line on its terminal); each may begin with"
    " delay=MILLISECONDS, (the pause between two characters)"
)
PORTS = 65535
RESET = 120.0  # seconds for the command that resets the machine
QEMU_LINE = "tcp:HOST:PORT,server=on,wait=off,nodelay=on"  # without nodelay 40 ms per answer

# What an external machine cannot do, on any kind of line, and why.
BY_KDB = "only kdb can read the memory of this machine"
SET_FOR_QEMU = "kstep can set that only for QEMU"
ONLY_EMULATED = "only --accel emulated-kvm can slow the guest's clock"
NO_MONITOR = "only QEMU's monitor can do that"
LACKS = {
    Capability.MEMORY_PAST_KERNEL: BY_KDB,
    Capability.MEMORY_WITHOUT_KDB: BY_KDB,
    Capability.PHYSICAL_MEMORY: NO_MONITOR,
    Capability.EXECUTION_LOG: NO_MONITOR,
    Capability.EXECUTION_RECORD: "only an emulator sees each instruction",
    Capability.GDBSTUB: "only QEMU has a gdbstub",
    Capability.GDBSTUB_BY_KVM: "only QEMU has a gdbstub",
    Capability.GDBSTUB_MASKS: "only QEMU has a gdbstub",
    Capability.VISIBLE_RESET: "only QEMU's monitor reports a reset",
    Capability.PROCESSORS: SET_FOR_QEMU,
    Capability.CPU_MODEL: SET_FOR_QEMU,
    Capability.EL2: SET_FOR_QEMU,
    Capability.PARAMETERS: SET_FOR_QEMU,
    Capability.DILATION: ONLY_EMULATED,
}


class Port(Protocol):
    """An open serial line."""

    def fileno(self) -> int:
        """Return the descriptor to read and write."""

    def close(self) -> None:
        """Close the line."""

    def send_break(self) -> None:
        """Send a BREAK; MachineryError if that is impossible."""


class ProgramPort:
    """A program that shows the line on its terminal, such as a lab's console."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._child = PtyProcess.spawn(list(argv), preexec_fn=_raw)

    def fileno(self) -> int:
        """Return kstep's end of the program's terminal."""
        return int(self._child.fd)

    def close(self) -> None:
        """Hang up, and kill the program if it does not end."""
        self._child.close(force=True)

    def send_break(self) -> None:
        """Raise MachineryError: kstep does not know how the program sends BREAK."""
        raise MachineryError("a program has the line, and kstep does not know how it sends BREAK")


def _raw() -> None:
    """Let the terminal of a program pass every byte unchanged."""
    tty.setraw(0)


@dataclass(frozen=True)
class Line:
    """The serial line of an external machine, and the command that resets it; empty for none.

    ``program`` is the program that has the line; if there is none, ``url`` is the line.
    ``delay`` is the pause between two characters that are sent, in seconds.
    """

    spec: str
    url: str
    baud: int
    reset: str
    program: tuple[str, ...] = ()
    delay: float = 0.0

    @property
    def offer(self) -> Offer:
        """What a machine on this line can do."""
        can: set[Capability] = set()
        lacks = dict(LACKS)
        if self.url.startswith("/"):
            can.add(Capability.BREAK)
        elif self.program:
            lacks[Capability.BREAK] = "kstep does not know how the line's program sends BREAK"
        else:
            lacks[Capability.BREAK] = "there is no BREAK over TCP"
        if self.reset:
            can.add(Capability.FRESH_BOOT)
        else:
            lacks[Capability.FRESH_BOOT] = "nothing resets it; add --reset COMMAND"
        return Offer(self.spec, frozenset(can), lacks)

    @classmethod
    def parse(cls, spec: str, reset: str) -> Line:
        """Read one of FORMS; raises RequestError for anything else."""
        if slow := DELAY.fullmatch(spec):
            line = cls.parse(slow["rest"], reset)
            return replace(line, spec=spec, delay=int(slow["ms"]) / 1000)
        match = FORM.fullmatch(spec)
        if match is None or not 0 < int(match["port"] or 1) <= PORTS:
            raise RequestError(f"--machine {spec}: must be {FORMS}")
        baud = int(match["baud"] or BAUD)
        if place := match["place"]:
            client = ("labgrid-client", "-p", place)
            return cls(
                spec,
                "",
                baud,
                reset or shlex.join([*client, "power", "cycle"]),
                (*client, "console"),
            )
        if match["program"]:
            try:
                return cls(spec, "", baud, reset, tuple(shlex.split(match["program"])))
            except ValueError as error:
                raise RequestError(f"--machine {spec}: {error}; fix the quoting") from None
        if match["device"]:
            return cls(spec, match["device"], baud, reset)
        return cls(spec, f"socket://{match['host']}:{match['port']}", baud, reset)

    def open(self) -> Port:
        """Open the line; raises RequestError, with the fix."""
        try:
            if self.program:
                return ProgramPort(self.program)
            if self.url.startswith("/"):
                return serial.Serial(self.url, self.baud, exclusive=True)
            return serial.serial_for_url(self.url)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise RequestError(f"--machine {self.spec}: {_why(error)}") from error

    def require(self) -> None:
        """Raise RequestError if the line cannot be opened, and no reset could change that."""
        if self.program and not shutil.which(self.program[0]):
            raise RequestError(f"--machine {self.spec}: program {self.program[0]} not found")
        if not self.reset:
            self.open().close()

    def send_reset(self) -> None:
        """Run the command that resets the machine; raises MachineryError if it fails."""
        what = f"--reset {self.reset!r}"
        try:
            done = subprocess.run(
                ["sh", "-c", self.reset],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=RESET,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise MachineryError(f"{what} did not end within {RESET:g} s") from None
        if done.returncode:
            said = tuple((done.stdout + done.stderr).strip().splitlines()[-5:])
            raise MachineryError(f"{what} ended with status {done.returncode}", details=said)


def _why(error: Exception) -> str:
    text = str(error)
    for known, fix in (
        ("No such file", "there is no such device; is it plugged in?"),
        ("Permission denied", "you may not open it; on Debian, join the group dialout"),
        ("exclusively lock", "another program has it; end that (fuser names it)"),
        ("busy", "another program has it; end that (fuser names it)"),
        ("refused", f"nothing listens there; for QEMU: -serial {QEMU_LINE}"),
        ("Inappropriate ioctl", "it is not a serial port"),
        ("Name or service", "no host has this name"),
        ("Temporary failure", "no host has this name"),
    ):
        if known in text:
            return fix
    return text.splitlines()[0] if text else type(error).__name__
