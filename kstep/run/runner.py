# SPDX-License-Identifier: GPL-2.0-only
"""Runs one boot, in this process: a machine, and on it one cell after another."""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Outcome, Signature
from kstep.console.splat import STALL
from kstep.image.symbols import Symbols
from kstep.machine.board import Board
from kstep.machine.boot import BootFault, SilentBootError
from kstep.machine.emulated_host import EmulatedHosts
from kstep.machine.nested import NestedMachine
from kstep.machine.qemu import QemuMachine
from kstep.results import layout
from kstep.results.transcript import Transcript
from kstep.run.boot import Result
from kstep.session import session, taint
from kstep.session.target import Target

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path, PurePosixPath
    from types import TracebackType

    from kstep.machine.hardware import Hardware
    from kstep.machine.interface import Machine
    from kstep.results.cell import Cell
    from kstep.run.boot import Boot
    from kstep.toolchain import Toolchain


SILENT = (Signature.HANG, Signature.RUNAWAY)  # something that was waited for did not come


def run(
    boot: Boot, toolchain: Toolchain, folder: Path, hosts: EmulatedHosts | None = None
) -> Generator[Result, None, None]:
    """Run the cells of a boot; their files go into ``folder``, which exists.

    ``hosts`` has the emulated host that a boot may need, and keeps it for the next boot; without
    it, that host is ended with the boot.

    A machine is not used again after a cell that did not pass, or if the next case needs
    different hardware. A cell that a fault of the machinery ended is tried once more, on a fresh
    machine, unless the machine is external. A kernel that still did not boot is not tried again
    on the same hardware: the result, a fault of its own or no verdict, is that of all cells.
    """
    with (
        nullcontext(hosts) if hosts else EmulatedHosts() as kept,
        _Running(boot, toolchain, folder, kept) as running,
    ):
        for cell in boot.cells:
            hardware = running.script.hardware_for(cell.case)
            if (first := running.unbootable.get(hardware)) is not None:
                message = f"not tried again: {first.message}"
                untried = Result(cell, first.outcome, first.signature, message)
                yield replace(untried, died_at_boot=first.died_at_boot, silent=first.silent)
                continue
            result = running.tried(cell)
            if result.died_at_boot or result.signature is Signature.NO_BOOT:
                running.unbootable[hardware] = result
            yield result
            if result.outcome is not Outcome.PASS:
                running.end_machine()


def files(cell: Cell, folder: Path) -> dict[str, str]:
    """Return the files of a cell by kind, relative to ``folder``; empty if it never ran."""
    return _files(layout.cell_folder(cell), folder)


def set_aside(cell: Cell, folder: Path) -> dict[str, str]:
    """Move a try of a cell aside for another; return its files, as files() does."""
    own = folder / layout.cell_folder(cell)
    if not own.exists():
        return {}
    aside = own.with_name(f"{own.name}.{layout.EARLIER}")
    own.rename(aside)
    own.mkdir()
    aside.rename(own / layout.EARLIER)
    return _files(layout.cell_folder(cell) / layout.EARLIER, folder)


def _files(own: PurePosixPath, folder: Path) -> dict[str, str]:
    if not (folder / own).exists():
        return {}
    found = {"console_log": str(own / "console.log"), "trace": str(own / "trace.jsonl")}
    if (folder / own / layout.QEMU_SCRIPT).exists():
        found["qemu"] = str(own / layout.QEMU_SCRIPT)
    if (folder / own / layout.HOST_LOG).exists():
        found["host_log"] = str(own / layout.HOST_LOG)
    for log in sorted((folder / own).glob("gdb*.log")):
        found[f"{log.stem.replace('-', '_')}_log"] = str(own / log.name)
    return found


def empty(folder: Path, kept: str) -> None:
    """Create a cell's folder, or remove what an interrupted run left there, except ``kept``."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
        elif path.name != kept:
            shutil.rmtree(path)


# Both take some 30 ms, and a worker runs hundreds of boots with the same scripts and few kernels.
_sessions = lru_cache(maxsize=1)(session.load)
_symbols = lru_cache(maxsize=8)(Symbols.load)


def _doubted(result: Result, short: str) -> Result:
    """Withdraw a result about the kernel, because its machine was short of CPU time."""
    return replace(
        result,
        outcome=Outcome.ERROR,
        signature=Signature.INFRASTRUCTURE,
        message=f"{short}; so this is no verdict on the kernel: {result.message}",
        died_at_boot=False,
        silent=0,
    )


def _reason(error: OSError) -> str:
    what = error.strerror or str(error)
    return what if error.filename is None else f"{error.filename}: {what}"


class _Running(AbstractContextManager["_Running"]):
    """The cells of a boot, and the machine that they share, which exit ends."""

    def __init__(
        self, boot: Boot, toolchain: Toolchain, folder: Path, hosts: EmulatedHosts
    ) -> None:
        own = () if boot.own is None else (boot.own,)
        self.script = _sessions(boot.sessions, own)[boot.cells[0].session]
        self._boot = boot
        self._toolchain = toolchain
        self._folder = folder
        self._hosts = hosts
        self._symbols = _symbols(boot.kernel.system_map)
        self._machine: Machine | None = None
        self._taint = 0  # of its kernel, as last seen
        self._stack = ExitStack()
        self.unbootable: dict[Hardware, Result] = {}  # the result of the boot, by the machine

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_machine()

    def end_machine(self) -> None:
        """End the machine, if there is one, so that the next cell gets another."""
        self._machine, self._taint = None, 0
        self._stack.pop_all().close()

    def tried(self, cell: Cell) -> Result:
        """Run a cell, and if a fault of the machinery ends it, once more on a fresh machine."""
        again = cell in self._boot.tried
        first = self.cell(cell, again=again)
        if first.outcome is not Outcome.ERROR or again or self._boot.line is not None:
            return first
        self.end_machine()
        self._hosts.end()
        self._toolchain.renew()
        try:
            earlier = first.as_earlier(set_aside(cell, self._folder))
        except OSError:  # a full disk: its files stay where they are, and it is the result
            return first
        second = self.cell(cell, again=True)
        return replace(second, earlier=(earlier,), silent=first.silent + second.silent)

    def cell(self, cell: Cell, *, again: bool) -> Result:
        """Run a cell, on the running machine or on one that is started for it.

        That its files cannot be written, as on a full disk, is a fault of the machinery.
        """
        try:
            return self._cell(cell, again=again)
        except OSError as error:
            return Result(
                cell,
                Outcome.ERROR,
                Signature.INFRASTRUCTURE,
                _reason(error),
                files=files(cell, self._folder),
            )

    def _cell(self, cell: Cell, *, again: bool) -> Result:
        own = self._folder / layout.cell_folder(cell)
        empty(own, layout.EARLIER if again else "")
        hardware = self.script.hardware_for(cell.case)
        if self._machine is not None and not self._machine.hardware.can_serve_next(hardware):
            self.end_machine()
        began = time.monotonic()
        outcome, signature, message = Outcome.PASS, None, ""
        boot_seconds = 0.0
        metrics: dict[str, float] = {}
        target: Target | None = None
        died_at_boot, silent, short = False, 0, ""
        with ExitStack() as stack:
            try:
                trace = stack.enter_context((own / "trace.jsonl").open("w", buffering=1))
                runs = self._machine is not None
                machine = self._machine or self._start(hardware)
                self._keep_by_hand(own)
                log = stack.enter_context(Transcript(own / "console.log", machine.began))
                target = Target(machine, self._symbols, trace, own)
                if runs:
                    machine.console.transcript = log
                else:
                    machine.boot(log)
                    boot_seconds = machine.boot_seconds
                metrics = target.metrics
                self.script.run(target, cell.case)
                seen = taint.after(target, self._taint)
                if seen is None:
                    self.end_machine()  # no other cell can use it either
                else:
                    self._taint = seen
            except KernelFault as fault:
                short = self._shortage(fault)
                died_at_boot = isinstance(fault, BootFault)
                drained = fault if target is None else target.drain(fault)
                outcome, signature, message = Outcome.FAIL, drained.signature, str(drained)
            except MachineryError as error:
                short = self._shortage(error)
                silent = int(isinstance(error, SilentBootError) and self._boot.line is None)
                outcome, signature = Outcome.ERROR, error.signature
                message = "\n".join((str(error), *error.details))
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001 -- a bug of kstep is not a verdict, and must not end the run
                outcome, signature = Outcome.ERROR, Signature.INFRASTRUCTURE
                message = f"internal error: {type(error).__name__}: {error}"
        self._keep_console_of_host(own, outcome)
        result = Result(
            cell,
            outcome,
            signature,
            message,
            round(time.monotonic() - began, 3),
            round(boot_seconds, 6),
            dict(metrics),
            files(cell, self._folder),
            died_at_boot,
            silent,
        )
        return _doubted(result, short) if short else result

    def _shortage(self, error: KernelFault | MachineryError) -> str:
        """Return how the machine lacked CPU time, if that can explain the error; "" if not."""
        stalled = error.signature is Signature.SPLAT and STALL.search(str(error))
        silent = error.signature in SILENT or isinstance(error, SilentBootError)
        return self._machine.shortage() if self._machine and (stalled or silent) else ""

    def _keep_console_of_host(self, own: Path, outcome: Outcome) -> None:
        """Write what the emulated host has printed, if there is one and no verdict."""
        if outcome is Outcome.ERROR and self._hosts.console:
            (own / layout.HOST_LOG).write_text(self._hosts.console)

    def _keep_by_hand(self, own: Path) -> None:
        """Write a script that boots the cell's machine by hand, if that is possible."""
        if self._machine is not None and self._machine.by_hand:
            script = own / layout.QEMU_SCRIPT
            script.write_text(self._machine.by_hand)
            script.chmod(0o755)

    def _start(self, hardware: Hardware) -> Machine:
        boot = self._boot
        machine: Machine
        if boot.line is not None:
            machine = Board(boot.line, boot.kernel, hardware, self._toolchain)
        elif boot.host is not None:
            host = self._hosts.running(boot.host, self._toolchain)
            machine = NestedMachine(boot.kernel, boot.initramfs, hardware, host)
        else:
            machine = QemuMachine(
                boot.kernel, boot.initramfs, hardware, self._toolchain, boot.accel
            )
        self._machine = self._stack.enter_context(machine)
        return machine
