# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's monitor (QMP): reads the guest's memory and controls the machine."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from qemu.qmp import ExecuteError, QMPError
from qemu.qmp.legacy import QEMUMonitorProtocol

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.machine.interface import UnmappedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

STOPS, BETWEEN_STOPS = 100, 0.05  # how often a guest is stopped, and seconds in between
LINE = "line"  # the serial line's chardev
# A line of `log exec`: "Trace CPU: HOST [CS_BASE/PC/FLAGS/CFLAGS] SYMBOL" (accel/tcg/cpu-exec.c).
EXECUTED = re.compile(rb"^Trace \d+: \S+ \[[0-9a-f]+/(?P<pc>[0-9a-f]+)/", re.MULTILINE)

PHYSICAL = re.compile(r"gpa: (?P<address>0x[0-9a-f]+)")  # hmp_gva2gpa() in monitor/


class Monitor(AbstractContextManager["Monitor"]):
    """The monitor at a socket, or a connected one; QEMU may write into the folder ``scratch``.

    Connects at the first command. Raises MachineryError ``machine-died`` if QEMU is gone.
    """

    def __init__(self, address: Path | socket.socket, scratch: Path) -> None:
        self._address = address if isinstance(address, socket.socket) else str(address)
        self._scratch = scratch
        self._connection: QEMUMonitorProtocol | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The other end may be gone, and close() would raise that again.
        with contextlib.suppress(QMPError, OSError, EOFError):
            if self._connection is not None:
                self._connection.close()

    def read(self, address: int, size: int) -> bytes:
        """Read the guest's memory at a virtual address, in the mapping of its running CPU.

        Raises UnmappedError if it is not mapped.
        """
        file = self._scratch / "memory"
        signed = address - (address >> 63 << 64)  # QMP's int has 64 bits with a sign
        try:
            self._command("memsave", val=signed, size=size, filename=str(file))
        except ExecuteError as error:
            unmapped = str(error).startswith("Invalid addr")
            raise (UnmappedError if unmapped else MachineryError)(
                f"QEMU cannot read {size} bytes at {address:#x}: {error}"
            ) from error
        return file.read_bytes()

    def read_physical(self, address: int, size: int) -> bytes:
        """Read the guest's memory at a physical address, while its CPU runs or is stopped."""
        file = self._scratch / "memory"
        self._command("pmemsave", val=address, size=size, filename=str(file))
        return file.read_bytes()

    def physical(self, address: int) -> int | None:
        """Return the physical address of a virtual one, as read() has it; None if it has none."""
        said = self._command("human-monitor-command", **{"command-line": f"gva2gpa {address:#x}"})
        match = PHYSICAL.search(str(said))
        return None if match is None else int(match["address"], 16)

    def drain(self, seconds: float) -> None:
        """Read the events that have come, if that takes no longer than ``seconds``.

        Each stop of the guest is one; a few hundred that nobody reads fill the socket.
        """
        if self._connection is None:
            return
        with contextlib.suppress(MachineryError, ExecuteError):
            self._connection.settimeout(seconds)
            self._command("query-status")

    def stop_in_kernel(self) -> None:
        """Stop the guest while its CPUs execute the kernel.

        For a CPU at EL0, QEMU denies a debugger the kernel's memory, and so a breakpoint there
        (arm_cpu_get_phys_page_attrs_debug() in target/arm/ptw.c translates as the CPU would).
        """
        for _ in range(STOPS):
            self._command("stop")
            shown = self._command("human-monitor-command", **{"command-line": "info registers -a"})
            if " EL0t" not in str(shown):
                return
            self._command("cont")
            time.sleep(BETWEEN_STOPS)
        raise MachineryError(f"stopped {STOPS} times, the guest was always in user space")

    def open_gdbserver(self, device: str) -> None:
        """Have QEMU open a new gdbstub on a device; that stops the guest (HMP ``gdbserver``)."""
        for each in ("none", device):
            self._command("human-monitor-command", **{"command-line": f"gdbserver {each}"})

    def send_break(self) -> None:
        """Send a BREAK on the serial line, which a pty cannot carry."""
        self._command("chardev-send-break", id=LINE)

    @contextlib.contextmanager
    def executed(self) -> Iterator[set[int]]:
        """Collect what the guest executes in the block: the address of each translation block.

        The set is filled at the end of the block. QEMU ends a translation block at every branch,
        so each function that runs has one at its beginning. Slow: a second of guest time takes
        about twenty, and tens of megabytes of log.
        """
        log = self._scratch / "executed"
        pcs: set[int] = set()
        self._human(f"logfile {log}")
        self._human("log exec,nochain")
        yield pcs
        self._human("log none")
        self._human(f"logfile {self._scratch / 'log'}")  # flushes the other file to disk
        with log.open("rb") as lines:
            for line in lines:
                if match := EXECUTED.match(line):
                    pcs.add(int(match["pc"], 16))

    def resets(self, cause: Callable[[], None], seconds: float) -> bool:
        """Call ``cause``; whether the guest then resets the machine, which ends QEMU."""
        self._command("query-status")  # connects, so that events arrive
        cause()
        deadline = Deadline.after(seconds)
        while deadline.left:
            event = self._event(deadline.left)
            if event.get("event") == "SHUTDOWN":
                return bool(event["data"]["reason"] == "guest-reset")
        return False

    def _event(self, seconds: float) -> dict[str, Any]:
        """Return the next event, or an empty one."""
        assert self._connection is not None  # noqa: S101 -- resets() connects
        try:
            return self._connection.pull_event(wait=seconds) or {}
        except TimeoutError:
            return {}
        except (QMPError, OSError, EOFError) as error:
            raise MachineryError(f"QEMU hung up: {error}", Signature.MACHINE_DIED) from error

    def _human(self, line: str) -> None:
        said = self._command("human-monitor-command", **{"command-line": line})
        if said:
            raise MachineryError(f"QEMU refuses {line!r}: {said}")

    def _command(self, name: str, **arguments: object) -> object:
        try:
            if self._connection is None:
                self._connection = QEMUMonitorProtocol(self._address)
                # A signal that ends this process leaves a command that nobody waits for any more;
                # asyncio would print that it failed.
                asyncio.get_event_loop().set_exception_handler(lambda *_: None)
                self._connection.connect()
            return self._connection.cmd(name, **arguments)
        except ExecuteError:
            raise
        except (QMPError, OSError, EOFError) as error:
            raise MachineryError(f"QEMU hung up: {error}", Signature.MACHINE_DIED) from error
