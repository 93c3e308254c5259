# SPDX-License-Identifier: GPL-2.0-only
"""Stops: the one that a script waits for, and what any other means."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kstep.arm64.branch import is_brk
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import BREAKPOINT_HIT, KEYBOARD, STEPPED
from kstep.console.shell import CommandResult
from kstep.machine.capability import Capability
from kstep.session.dialogue import WAIT, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.console.kdb import Breakpoint, Stop
    from kstep.image.symbols import Symbols
    from kstep.judge.text import LiveText
    from kstep.machine.interface import Machine
    from kstep.session.dialogue import Dialogue

TRACED = 60.0  # seconds for a command while the machine writes down what it executes
AGAIN = 3  # times that `go` is repeated at a breakpoint that is hit again
RECURRING = 20  # stops with the same registers, which none was reached anew for


class Stops:
    """The stops of a conversation. ``last`` is the latest that was waited for.

    ``text`` is the live text read since then.
    """

    def __init__(
        self, dialogue: Dialogue, symbols: Symbols, text: LiveText, machine: Machine
    ) -> None:
        self.text = text
        self._machine = machine
        self._dialogue = dialogue
        self._symbols = symbols
        self._registers: dict[str, int] = {}  # at the last breakpoint that was waited for
        self.last: Stop | None = None

    @property
    def here(self) -> str:
        """The last stop's address, as a symbol and an offset."""
        if self.last is None or self.last.pc is None:
            return "an unknown address"
        return str(self._symbols.locate(self.last.pc))

    def take(self, stop: Stop) -> None:
        """Make a stop the latest, and stay there for some ticks."""
        self.last = stop
        self._dialogue.wait_for_pending_tick()

    def resumed(self) -> Stop:
        """Return the last stop, with the PC from which the kernel continues.

        After a compiled-in breakpoint, such as sysrq-g's, for which kdb names no PC, that is the
        next instruction (kgdb_arch_update_addr() in arch/arm64/kernel/kgdb.c).
        """
        if self.last is None:
            raise MachineryError("a step before the kernel has stopped")
        if self.last.pc is not None:
            return self.last
        pc = self._dialogue.kdb.registers()["pc"]
        return replace(self.last, pc=pc + 4 if is_brk(self.text.word(pc)) else pc)

    def go(self) -> None:
        """Let the kernel continue (``go``)."""
        self._dialogue.resume()
        self.text.forget()

    def expect_stop(self, reason: str, pc: int | None = None) -> Stop:
        """Wait for a stop with kdb's ``reason`` and at the address ``pc``."""
        self._dialogue.require(f"awaiting a stop for {reason}", State.SHELL, State.RUNNING)
        return self._expect(reason, pc)

    def _expect(self, reason: str, pc: int | None = None) -> Stop:
        what = f"stop for {reason}" + ("" if pc is None else f" at {self._symbols.locate(pc)}")
        command = self._dialogue.running
        heard = self._dialogue.listen(what)
        if isinstance(heard, CommandResult):
            if pc is not None and command:
                self._require_reached(pc, command)
            raise KernelFault(
                Signature.MISSED_HITS,
                f"the command ended with status {heard.status} and there was no {what}",
            )
        if heard.pc != pc:
            heard = self.confirmed(heard)
        if heard.reason != reason or heard.pc != pc:
            raise self.unexpected(heard)
        if pc is not None:
            self._registers = self._dialogue.kdb.registers()
        self.take(heard)
        return heard

    def _require_reached(self, pc: int, command: str) -> None:
        """Raise MachineryError if a command does not lead to a function, as the machine saw it.

        The compiler may have inlined it where the command would call it.
        """
        at = self._symbols.locate(pc)
        if at.offset or Capability.EXECUTION_LOG not in self._machine.offer.capabilities:
            return  # only of a function's first instruction it is known to begin a block
        try:
            with self._machine.executed() as executed:
                self._dialogue.start(command)
                heard = self._dialogue.listen("end of the command", TRACED)
        except KernelFault:
            return  # it is broken, whatever it reaches
        if isinstance(heard, CommandResult) and pc not in executed:
            raise MachineryError(
                f"{command!r} does not lead to {at.symbol} in this kernel, so nothing was tested:"
                " the machine, which ran it again, executed nothing there"
            )

    def expect_breakpoint(self, breakpoint_: Breakpoint) -> Stop:
        """Wait until a breakpoint is hit."""
        return self.expect_stop(BREAKPOINT_HIT, breakpoint_.address)

    def go_until(self, breakpoint_: Breakpoint, wanted: Callable[[], bool], most: int) -> Stop:
        """``go`` to a breakpoint that others reach too, until what is ``wanted`` holds there.

        Raises KernelFault ``rehit`` if a stop recurs with the same registers, again and again;
        MachineryError after ``most`` stops.
        """
        before, again = self._registers, 0
        for _ in range(most):
            self.go()
            stop = self.expect_breakpoint(breakpoint_)
            if wanted():
                return stop
            again = again + 1 if self._registers == before else 0
            if again == RECURRING:
                raise KernelFault(
                    Signature.REHIT, f"go from {self.here} hit there {RECURRING} times more"
                )
            before = self._registers
        raise MachineryError(f"none of {most} stops at {self.here} is the one that is wanted")

    def crash(self, command: str, reason: str) -> Stop:
        """Run a command that does not return, and wait for the stop in which it ends."""
        self._dialogue.require("crash", State.SHELL)
        self._dialogue.give_up()
        self._dialogue.send_off(command)
        return self._expect(reason)

    def break_in(self) -> None:
        """Enter kdb by BREAK and g on the serial line, whatever the guest is doing.

        It works even if the kernel has crashed.
        """
        self._dialogue.require("break_in", State.SHELL, State.RUNNING, State.GONE)
        self._dialogue.send_break()
        heard = self._dialogue.listen("stop after BREAK and g")
        if isinstance(heard, CommandResult):  # the command ended just then
            heard = self._dialogue.listen("stop after BREAK and g")
        if isinstance(heard, CommandResult) or heard.reason != KEYBOARD:
            raise MachineryError(f"BREAK and g did not enter kdb, but led to {heard}")
        self.take(heard)

    def step(self, command: str = "ss", meanwhile: Callable[[], None] = lambda: None) -> Stop:
        """Single-step (``ss``) once, and return where the kernel stopped.

        ``meanwhile`` is called while the kernel runs.
        """
        self._dialogue.resume_step(command)
        meanwhile()
        try:
            heard = self._dialogue.listen("stop after a step")
        except KernelFault as fault:
            if fault.signature is Signature.HANG:
                raise KernelFault(
                    Signature.RUNAWAY, f"the step from {self.here} never came back"
                ) from fault
            raise
        if isinstance(heard, CommandResult):
            raise KernelFault(
                Signature.RUNAWAY,
                f"the step from {self.here} never came back: the guest ran on,"
                f" and the command ended with status {heard.status}",
            )
        if heard.pc is None:
            raise KernelFault(
                Signature.OFF_ORDER, f"the step from {self.here} ended in {heard.reason!r}"
            )
        self.last = heard
        return heard

    def confirmed(self, stop: Stop) -> Stop:
        """Return a stop that would be a kernel fault, with its PC read again (``rd``).

        A faulty line may have changed a digit.
        """
        if stop.pc is None or self._dialogue.state is not State.KDB or self._dialogue.line_trusted:
            return stop
        return replace(stop, pc=self._dialogue.kdb.registers()["pc"])

    def unexpected(self, stop: Stop) -> KernelFault:
        """Return the fault that an unexpected stop means."""
        stop = self.confirmed(stop)
        where = "nowhere" if stop.pc is None else str(self._symbols.locate(stop.pc))
        if stop.reason == STEPPED:
            return KernelFault(
                Signature.STEP_FLOOD, f"a step that was not requested stops at {where}"
            )
        if stop.reason != BREAKPOINT_HIT or self.last is None:
            return KernelFault(Signature.OFF_ORDER, f"kdb is entered at {where}: {stop.reason}")
        if not self._registers or stop.pc != self._registers["pc"]:
            return KernelFault(Signature.OFF_ORDER, f"an unknown breakpoint is hit at {where}")
        if self._dialogue.kdb.registers() != self._registers:
            return KernelFault(
                Signature.DOUBLE_HITS, f"{where} is hit again, with other registers than before"
            )
        hits, later = self._hits_again(stop)
        return KernelFault(
            Signature.REHIT,
            f"{where} is hit again with the same registers, so without being reached again;"
            f" {AGAIN} more `go` hit it {hits} more times{later}",
        )

    def _hits_again(self, stop: Stop) -> tuple[int, str]:
        """Repeat ``go``; return how often the stop recurred, and the fault if that ended it."""
        hits = 0
        try:
            for _ in range(AGAIN):
                self._dialogue.wait_for_pending_tick()
                self.go()
                heard = self._dialogue.listen("breakpoint or the command's end", WAIT)
                if isinstance(heard, CommandResult) or heard.pc != stop.pc:
                    break
                hits += 1
        except KernelFault as fault:
            return hits, f"; then: {fault}"
        return hits, ""
