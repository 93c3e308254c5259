# SPDX-License-Identifier: GPL-2.0-only
"""Single steps of a script: each judged, over special instructions, or as repeated walks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from kstep.arm64.entry import is_interrupt
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.judge.stepper import SteppedPath, Tally
from kstep.session.dialogue import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kstep.console.gdb import Gdb
    from kstep.image.symbols import CodeAddress, Symbols
    from kstep.judge.stepper import Step
    from kstep.machine.interface import Machine
    from kstep.session.dialogue import Dialogue
    from kstep.session.inspection import Inspection
    from kstep.session.stops import Stops

FURTHER = 500  # steps within which a function returns
# A limit for paths that end by themselves: some hundred steps if the kernel checks little of what
# it does; with lockdep each lock takes a thousand.
LONG_PATH = 40_000
# An interrupt meets a window in up to one walk of five on a busy host. That so many more walks meet
# one than do not, before it is the other way round, has then a chance of 3 in a million.
LEAD = 9


@dataclass(frozen=True)
class Window:
    """An interrupt that ended the step from ``before``, and the fault if it counts as one."""

    before: CodeAddress
    fault: KernelFault


@dataclass
class Walk:
    """One walk of a path that may be repeated: ``earlier`` walks each met an interrupt."""

    earlier: tuple[Window, ...] = ()
    window: Window | None = field(default=None, init=False)

    def met_interrupt(self, step: Step) -> bool:
        """Whether a step ended in an interrupt, which ends the walk.

        Raises KernelFault if it left program order in any other way.
        """
        if step.in_order:
            return False
        fault = step.path.departure(step)
        if fault.signature is not Signature.ENTERS_INTERRUPT:
            raise fault
        self.window = Window(step.before, fault)
        return True


class Stepping:
    """Steps of a conversation, on one tally; they are recorded in ``metrics`` and ``trace``."""

    def __init__(
        self,
        machine: Machine,
        dialogue: Dialogue,
        stops: Stops,
        inspection: Inspection,
        symbols: Symbols,
        trace: IO[str] | None,
        metrics: dict[str, float],
    ) -> None:
        self._record = machine.execution if machine.hardware.recorded else None
        self._dialogue = dialogue
        self._stops = stops
        self._inspection = inspection
        self._symbols = symbols
        self._trace = trace
        self._metrics = metrics
        self._tally = Tally()

    def steps(self, count: int, gdb: Gdb | None = None) -> Iterator[Step]:
        """Single-step up to ``count`` times from the current stop: ``ss``, or ``stepi``.

        Ends earlier if the path returns to user space.
        """
        self._dialogue.require("steps", State.KDB if gdb is None else State.GDB)
        may_lie = gdb is None and not self._dialogue.line_trusted
        path = SteppedPath(
            self._stops.resumed(),
            (lambda meanwhile: self._stops.step(meanwhile=meanwhile))
            if gdb is None
            else gdb.step_instruction,
            gdb or self._dialogue.context,
            self._stops.text,
            self._symbols,
            self._trace,
            self._tally,
            self._stops.confirmed if may_lie else None,
            self._dialogue.kdb.glance if may_lie else None,
            self._record,
        )
        try:
            for step in path.steps(count):
                self._stops.last = step.stop
                yield step
        finally:
            self._metrics.update(self._tally.metrics)

    def steps_to_a_return(self, count: int, gdb: Gdb | None = None) -> Iterator[Step]:
        """Single-step ``count`` times, and then to the next return from a function.

        Use it before `go`: elsewhere the preemption count may have been read and not yet
        written back, and `go` lowers it meanwhile (see Step.returned), so that the kernel
        reports `scheduling while atomic`.
        """
        for step in self.steps(count + FURTHER, gdb):
            yield step
            if step.number >= count and step.returned:
                return

    def step_to(self, address: int, most: int = LONG_PATH) -> None:
        """Single-step in program order, at most ``most`` times, to the end of the path.

        Raises MachineryError if that is not at ``address``.
        """
        reached = False
        for step in self.steps(most):
            step.must_follow_program_order()
            reached = step.after.address == address
        if not reached:
            raise MachineryError(f"the path does not end at {self._symbols.locate(address)}")

    def step_over_brk(self, brk: int, walk: Walk | None = None) -> bool:
        """Step over a BRK, at which the kernel is stopped and which it handles itself.

        The step ends after it, or after the next instruction, which then ran unseen, in order:
        that depends on whether the return from the exception has SPSR.SS set. The metrics tell
        which. Raises KernelFault ``off-order`` if it ends elsewhere; but with a ``walk`` an
        interrupt is not a fault: then this returns False.
        """
        behind = {brk + 4, *self._inspection.successors(brk + 4)}
        ended = self._inspection.locate(self._stops.step())
        at = self._symbols.locate(brk)
        if walk is not None and is_interrupt(ended):
            walk.window = Window(
                at,
                KernelFault(
                    Signature.ENTERS_INTERRUPT,
                    f"the step over the BRK at {at} ended in an interrupt, at {ended}",
                ),
            )
            return False
        if ended.address not in behind:
            raise KernelFault(
                Signature.OFF_ORDER, f"the step over the BRK at {at} ended at {ended}"
            )
        self._metrics["unseen_instructions"] = int(ended.address != brk + 4)
        return True

    def step_past_mask(self, masks: CodeAddress) -> CodeAddress:
        """Step over an instruction that masks debug exceptions; return where the step ends.

        QEMU still traps right after such an instruction; then step once more.
        """
        ended = self._inspection.locate(self._stops.step())
        if ended.address == masks.address + 4:
            ended = self._inspection.locate(self._stops.step())
        return ended

    def walks(self) -> Iterator[Walk]:
        """Walk a path, and again if an interrupt met a step of it, until most walks met none.

        There are windows that no variant closes, because an interrupt in them does not depend
        on the step: some microseconds in which one that becomes pending is taken with SPSR.SS
        clear. The metric ``windows`` counts the walks that met one; that is not a fault while
        most meet none. Raises the KernelFault of the first if it is the other way round.
        """
        windows: tuple[Window, ...] = ()
        clean = 0
        while clean <= len(windows) < clean + LEAD:
            walk = Walk(windows)
            yield walk
            if walk.window is None:
                clean += 1
            else:
                windows += (walk.window,)
        self._metrics["windows"] = len(windows)
        if clean <= len(windows):
            fault = windows[0].fault
            raise KernelFault(
                fault.signature,
                f"in {len(windows)} of {clean + len(windows)} walks, first: {fault}",
            )
