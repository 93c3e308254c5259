# SPDX-License-Identifier: GPL-2.0-only
"""gdb's access to a kernel: through kgdb on the serial line, or QEMU's own gdbstub."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.console import SilenceError
from kstep.console.gdb import Gdb
from kstep.console.kdb import BREAKPOINT_HIT
from kstep.console.relay import BACK_TO_KDB, Relay
from kstep.console.shell import CommandResult
from kstep.results.transcript import Transcript
from kstep.session.dialogue import CERTAIN, State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kstep.console.kdb import Breakpoint
    from kstep.image.symbols import Symbols
    from kstep.machine.interface import Machine
    from kstep.session.dialogue import Dialogue
    from kstep.session.stops import Stops

SWITCHED = re.compile(rb"\$3#33\r?\n")  # kdb's last output, kdb_kgdb() in kdb_main.c
# The message of sysrq_handle_dbg() in kernel/debug/debug_core.c.
WAITS_FOR_GDB = re.compile(rb"KGDB or \$3#33 for KDB\r?\n")
ANNOUNCED = 2.0  # seconds within which the message comes, if it comes
NO_CPU = b"\xff" * 4


class GdbAccess:
    """Attaches gdb to a kernel, and detaches it; ``folder`` gets a log of its commands."""

    def __init__(
        self,
        machine: Machine,
        symbols: Symbols,
        dialogue: Dialogue,
        stops: Stops,
        folder: Path | None,
    ) -> None:
        self._machine = machine
        self._symbols = symbols
        self._dialogue = dialogue
        self._stops = stops
        self._folder = folder
        self._logs = count(1)

    @contextmanager
    def in_gdb(self, *, detach: bool = False, waits: bool = False) -> Iterator[Gdb]:
        """Switch from kdb to gdb for the block, which must end with the kernel stopped.

        Afterwards the kernel is stopped in kdb. With ``detach`` it runs, and kgdb's next stop
        waits for a gdb: then use ``waits``, see expect_wait_for_gdb().
        """
        with (
            self._log() as log,
            self.line_for_gdb(switch=not waits, back=not detach) as relay,
            self.gdb_at(relay, log) as gdb,
            self._certain(relay),
        ):
            gdb.connect(self._machine.toolchain.inside(relay.pty))
            yield gdb
            if detach:
                self._stops.text.forget()
                gdb.detach()
            else:
                gdb.disconnect()

    @contextmanager
    def _certain(self, relay: Relay) -> Iterator[None]:
        """Turn a fault that a faulty serial line may have caused into ``console-lost``."""
        try:
            yield
        except (KernelFault, MachineryError) as error:
            if self._dialogue.line_trusted or error.signature in CERTAIN:
                raise
            doubt = relay.doubt
            if doubt and doubt not in str(error):
                raise MachineryError(f"{error}; but {doubt}", Signature.CONSOLE_LOST) from error
            raise

    def _lost(self, signature: Signature, message: str) -> KernelFault | MachineryError:
        """Return a fault for something that did not come; on a faulty line it may be lost."""
        if self._dialogue.line_trusted:
            return KernelFault(signature, message)
        return MachineryError(
            f"{message}; but the serial line may have lost it", Signature.CONSOLE_LOST
        )

    @contextmanager
    def line_for_gdb(self, *, switch: bool = True, back: bool = True) -> Iterator[Relay]:
        """Switch kgdb from kdb to gdb's protocol for the block (``kgdb``), and back after it.

        gdb connects to the relay's pty, and leaves the kernel stopped (``disconnect``): not
        at gdb's own breakpoint, which kdb_stub() would treat as an oops that needs `go` twice
        (kernel/debug/kdb/kdb_debugger.c). Without ``back`` kgdb stays with gdb, and without
        ``switch`` it uses gdb's protocol already.
        """
        if switch:
            self.switch_to_gdb()
        self._dialogue.require("line_for_gdb", State.GDB)
        with Relay(self._machine.serial, self._machine.console) as relay:
            yield relay
        if not back:
            self._dialogue.release()
            return
        self._stops.text.forget()
        self._dialogue.send(BACK_TO_KDB)
        stop = self._dialogue.listen("kdb after gdb")
        if isinstance(stop, CommandResult):
            raise self._lost(
                Signature.RUNAWAY, "the guest runs after gdb disconnected with it stopped"
            )
        self._stops.last = stop

    def switch_to_gdb(self) -> None:
        """Switch kgdb from kdb to gdb's protocol (``kgdb``)."""
        self._dialogue.require("switch_to_gdb", State.KDB)
        self._dialogue.kdb.enter("kgdb")
        try:
            self._dialogue.listen_for(SWITCHED, "line that gdb may attach")
        except SilenceError as error:
            raise self._lost(Signature.HANG, f"kdb: {error}") from error
        self._dialogue.hand_to_gdb()

    def expect_wait_for_gdb(self, active: int) -> None:
        """Wait until sysrq-g has stopped a kernel whose last debugger was a gdb, now detached.

        The kernel prints a message. Since 7.0 a thread prints it, which is stopped too, so
        ``kgdb_active`` at the address ``active`` decides: the number of the CPU that is in kgdb,
        or -1.
        """
        self._dialogue.require("expect_wait_for_gdb", State.RUNNING)
        try:
            self._dialogue.listen_for(WAITS_FOR_GDB, "line about it", ANNOUNCED)
        except SilenceError:
            if self._machine.read(active, 4) == NO_CPU:
                raise self._lost(Signature.HANG, "sysrq-g does not stop the kernel") from None
        self._dialogue.hand_to_gdb()

    def _log(self) -> AbstractContextManager[Transcript | None]:
        if self._folder is None:
            return nullcontext()
        number = next(self._logs)
        name = "gdb.log" if number == 1 else f"gdb-{number}.log"
        return Transcript(self._folder / name, self._machine.began)

    def gdb_at(self, relay: Relay, log: Transcript | None = None) -> Gdb:
        """Return a gdb for a relay, not started yet."""

        def look() -> None:
            relay.require_sound()
            self._machine.console.catch_up()

        return Gdb(
            self._machine.toolchain,
            self._machine.kernel.vmlinux,
            scale=self._machine.scale,
            lines=[relay.pty],
            kernel_runs=lambda: relay.running,
            look=look,
            alive=self._machine.require_alive,
            missed=lambda: self._machine.missed,
            log=log,
        )

    @contextmanager
    def in_gdbstub(self, step_mask: int) -> Iterator[Gdb]:
        """Use gdb on QEMU's own stub for the block, which must end with the kernel running.

        ``step_mask`` is described in "Advanced debugging options" of QEMU's manual.
        """
        self._dialogue.require("in_gdbstub", State.SHELL)
        machine = self._machine
        stub = machine.open_gdbstub()
        with (
            self._log() as log,
            Gdb(
                machine.toolchain,
                machine.kernel.vmlinux,
                scale=machine.scale,
                readable=[stub.parent],
                look=machine.console.catch_up,
                alive=machine.require_alive,
                missed=lambda: machine.missed,
                log=log,
            ) as gdb,
        ):
            gdb.connect(stub)
            self._dialogue.hand_to_gdb()
            if '"OK"' not in gdb.type(f"maintenance packet Qqemu.sstep={step_mask:#x}"):
                offered = " ".join(gdb.type("maintenance packet qqemu.sstepbits").split())
                raise MachineryError(f"QEMU's gdbstub has no step mask {step_mask:#x}: {offered}")
            yield gdb
        self._dialogue.release()

    def release_from_gdb(self, gdb: Gdb) -> None:
        """Let the kernel run with gdb connected, so that its own kdb may stop it.

        gdb must have no breakpoint then, and not be used before the block of in_gdbstub() ends.
        """
        self._dialogue.require("release_from_gdb", State.GDB)
        self._stops.text.forget()
        gdb.resume()
        self._dialogue.release()

    def expect_breakpoint_in_gdb(self, gdb: Gdb, breakpoint_: Breakpoint) -> None:
        """Wait until gdb sees a breakpoint hit."""
        self._dialogue.require("expect_breakpoint_in_gdb", State.GDB)
        what = f"stop at {self._symbols.locate(breakpoint_.address)}"
        try:
            stop = gdb.wait(what)
        except KernelFault as fault:
            if fault.signature is Signature.HANG and (answer := self._ended()) is not None:
                raise KernelFault(
                    Signature.MISSED_HITS,
                    f"the command ended with status {answer.status}, but gdb saw no {what}",
                ) from fault
            raise
        self._stops.text.forget()
        if stop.pc is None:
            raise MachineryError(f"gdb names no address of the {what}: {stop.reason}")
        if stop.reason != BREAKPOINT_HIT or stop.pc != breakpoint_.address:
            raise KernelFault(
                Signature.OFF_ORDER,
                f"gdb sees {stop.reason} at {self._symbols.locate(stop.pc)}, not a hit of"
                f" {self._symbols.locate(breakpoint_.address)}",
            )
        self._stops.take(stop)

    def _ended(self) -> CommandResult | None:
        """Return the answer of the running command; None if it has not ended."""
        heard = self._dialogue.overhear(0)
        return heard if isinstance(heard, CommandResult) else None
