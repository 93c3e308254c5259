# SPDX-License-Identifier: GPL-2.0-only
"""gdb's access to a kernel: over the serial line, by kgdb, or by QEMU's own stub."""

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
from kstep.console.shell import Answer
from kstep.results.transcript import Transcript
from kstep.session.dialogue import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kstep.console.kdb import Breakpoint
    from kstep.image.symbols import Symbols
    from kstep.machine.interface import Machine
    from kstep.session.dialogue import Dialogue
    from kstep.session.stops import Stops

SWITCHED = re.compile(rb"\$3#33\r?\n")  # kdb's last words, kdb_kgdb() in kdb_main.c
# What sysrq_handle_dbg() says, in kernel/debug/debug_core.c.
WAITS_FOR_GDB = re.compile(rb"KGDB or \$3#33 for KDB\r?\n")
ANNOUNCED = 2.0  # seconds within which it is said, if it is
NOBODY = b"\xff" * 4


class GdbAccess:
    """How gdb comes to a kernel, and leaves it; into ``folder`` goes what it was told and said."""

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
        """Go from kdb to gdb for the block, which is left with the kernel stopped.

        Afterwards kdb has it, stopped; or with ``detach`` it runs, and kgdb's next stop is
        for a gdb, that comes with ``waits``: see expect_wait_for_gdb().
        """
        with (
            self._log() as log,
            self.line_for_gdb(switch=not waits, back=not detach) as relay,
            self.gdb_at(relay, log) as gdb,
        ):
            gdb.connect(self._machine.toolchain.inside(relay.pty))
            yield gdb
            if detach:
                self._stops.text.forget()
                gdb.detach()
            else:
                gdb.disconnect()

    @contextmanager
    def line_for_gdb(self, *, switch: bool = True, back: bool = True) -> Iterator[Relay]:
        """Switch kgdb from kdb to gdb's protocol for the block (``kgdb``), and back after it.

        gdb connects to the relay's pty, and leaves the kernel stopped (``disconnect``): not
        at a breakpoint of its own, which kdb_stub() takes for an oops, so that `go` is to be
        said twice (kernel/debug/kdb/kdb_debugger.c). Without ``back`` it is left to gdb, and
        without ``switch`` it speaks the protocol already.
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
        if isinstance(stop, Answer):
            raise KernelFault(
                Signature.RUNAWAY, "the guest runs where it was stopped when gdb disconnected"
            )
        self._stops.last = stop

    def switch_to_gdb(self) -> None:
        """Have kgdb speak gdb's protocol instead of kdb (``kgdb``)."""
        self._dialogue.require("switch_to_gdb", State.KDB)
        self._dialogue.kdb.enter("kgdb")
        try:
            self._dialogue.listen_for(SWITCHED, "word that gdb may come")
        except SilenceError as error:
            raise KernelFault(Signature.HANG, f"kdb gives {error}") from error
        self._dialogue.hand_to_gdb()

    def expect_wait_for_gdb(self, active: int) -> None:
        """Wait until sysrq-g has stopped a kernel whose last debugger was a gdb, now gone.

        It says so; but from 7.0 on by a thread, which is stopped as well, so what counts in the
        end is ``kgdb_active``, at the address ``active``: the number of the processor that is
        in kgdb, or -1.
        """
        self._dialogue.require("expect_wait_for_gdb", State.RUNNING)
        try:
            self._dialogue.listen_for(WAITS_FOR_GDB, "word of it", ANNOUNCED)
        except SilenceError:
            if self._machine.read(active, 4) == NOBODY:
                raise KernelFault(Signature.HANG, "sysrq-g does not stop the kernel") from None
        self._dialogue.hand_to_gdb()

    def _log(self) -> AbstractContextManager[Transcript | None]:
        if self._folder is None:
            return nullcontext()
        number = next(self._logs)
        name = "gdb.log" if number == 1 else f"gdb-{number}.log"
        return Transcript(self._folder / name, self._machine.began)

    def gdb_at(self, relay: Relay, log: Transcript | None = None) -> Gdb:
        """Return a gdb, not started, that may use a relay."""

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
            log=log,
        )

    @contextmanager
    def in_gdbstub(self, step_mask: int) -> Iterator[Gdb]:
        """Have gdb on QEMU's own stub for the block, which is left with the kernel running.

        ``step_mask`` is that of "Advanced debugging options" in QEMU's manual.
        """
        self._dialogue.require("in_gdbstub", State.SHELL)
        machine = self._machine
        with (
            self._log() as log,
            Gdb(
                machine.toolchain,
                machine.kernel.vmlinux,
                scale=machine.scale,
                readable=[machine.gdbstub.parent],
                look=machine.console.catch_up,
                alive=machine.require_alive,
                log=log,
            ) as gdb,
        ):
            gdb.connect(machine.gdbstub)
            self._dialogue.hand_to_gdb()
            if '"OK"' not in gdb.type(f"maintenance packet Qqemu.sstep={step_mask:#x}"):
                offered = " ".join(gdb.type("maintenance packet qqemu.sstepbits").split())
                raise MachineryError(f"QEMU's gdbstub has no step mask {step_mask:#x}: {offered}")
            yield gdb
        self._dialogue.release()

    def expect_breakpoint_in_gdb(self, gdb: Gdb, breakpoint_: Breakpoint) -> None:
        """Wait until gdb sees a breakpoint hit."""
        self._dialogue.require("expect_breakpoint_in_gdb", State.GDB)
        what = f"stop at {self._symbols.place(breakpoint_.address)}"
        try:
            stop = gdb.wait(what)
        except KernelFault as fault:
            if fault.signature is Signature.HANG and (answer := self._ended()) is not None:
                raise KernelFault(
                    Signature.MISSED_HITS,
                    f"the command ended with status {answer.status} and gdb saw no {what}",
                ) from fault
            raise
        self._stops.text.forget()
        if stop.pc is None:
            raise MachineryError(f"gdb names no place of the {what}: {stop.reason}")
        if stop.reason != BREAKPOINT_HIT or stop.pc != breakpoint_.address:
            raise KernelFault(
                Signature.OFF_ORDER,
                f"gdb sees {stop.reason} at {self._symbols.place(stop.pc)}, not a hit of"
                f" {self._symbols.place(breakpoint_.address)}",
            )
        self._stops.take(stop)

    def _ended(self) -> Answer | None:
        """Return the end of the command that runs, None if it has not been said yet."""
        heard = self._dialogue.overhear(0)
        return heard if isinstance(heard, Answer) else None
