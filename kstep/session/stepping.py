# SPDX-License-Identifier: GPL-2.0-only
"""Single steps of a script: judged one by one, over what is special, and walked again."""

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
    from kstep.session.dialogue import Dialogue
    from kstep.session.inspection import Inspection
    from kstep.session.stops import Stops

FURTHER = 500  # steps within which some function returns
WALKS = 3


@dataclass(frozen=True)
class Window:
    """An interrupt that ended the step from ``before``, and the fault that it would be."""

    before: CodeAddress
    fault: KernelFault


@dataclass
class Walk:
    """One walk of a path that may be walked again: ``earlier`` ones each met an interrupt."""

    earlier: tuple[Window, ...] = ()
    window: Window | None = field(default=None, init=False)

    def met_interrupt(self, step: Step) -> bool:
        """Whether a step ended in an interrupt, so that the walk is over.

        Raises KernelFault for one that left program order to anywhere else.
        """
        if step.in_order:
            return False
        fault = step.path.departure(step)
        if fault.signature is not Signature.ENTERS_INTERRUPT:
            raise fault
        self.window = Window(step.before, fault)
        return True


class Stepping:
    """Steps of a conversation, on one tally; ``metrics`` and ``trace`` get what they were."""

    def __init__(
        self,
        dialogue: Dialogue,
        stops: Stops,
        inspection: Inspection,
        symbols: Symbols,
        trace: IO[str] | None,
        metrics: dict[str, float],
    ) -> None:
        self._dialogue = dialogue
        self._stops = stops
        self._inspection = inspection
        self._symbols = symbols
        self._trace = trace
        self._metrics = metrics
        self._tally = Tally()

    def steps(self, count: int, gdb: Gdb | None = None) -> Iterator[Step]:
        """Single-step up to ``count`` times from where the kernel stopped: ``ss``, or ``stepi``.

        Ends sooner where the path returns to user space.
        """
        self._dialogue.require("steps", State.KDB if gdb is None else State.GDB)
        path = SteppedPath(
            self._stops.resumed(),
            self._stops.step if gdb is None else gdb.step_instruction,
            gdb or self._dialogue.kdb,
            self._stops.text,
            self._symbols,
            self._trace,
            self._tally,
        )
        try:
            for step in path.steps(count):
                self._stops.last = step.stop
                yield step
        finally:
            self._metrics.update(self._tally.metrics)

    def steps_to_a_return(self, count: int) -> Iterator[Step]:
        """Single-step ``count`` times, and on to the next return from a function.

        For whoever says `go` then: elsewhere the preemption count may have been read and not
        yet been written back, which `go` has lowered meanwhile (see Step.returned), and the
        kernel complains that it is `scheduling while atomic`.
        """
        for step in self.steps(count + FURTHER):
            yield step
            if step.number >= count and step.returned:
                return

    def step_to(self, address: int, most: int) -> None:
        """Single-step in program order, ``most`` times at the most, to where the path ends.

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

        The step ends behind it, or behind the next instruction, which then is run unseen, in its
        order: that depends on whether the way back from the exception has SPSR.SS set. Which of
        the two it was is in the metrics. Raises KernelFault ``off-order`` if it ends elsewhere;
        but in an interrupt it is no fault of a ``walk``: then this returns False.
        """
        behind = {brk + 4, *self._inspection.successors(brk + 4)}
        ended = self._inspection.locate(self._stops.step())
        at = self._symbols.locate(brk)
        if walk is not None and is_interrupt(ended):
            walk.window = Window(
                at,
                KernelFault(
                    Signature.ENTERS_INTERRUPT,
                    f"in each of {WALKS} walks the step over the BRK at {at} ended in an"
                    f" interrupt, first at {ended}",
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
        """Step over an instruction that masks debug exceptions; return where that comes back.

        QEMU still traps right behind such an instruction; then once more.
        """
        ended = self._inspection.locate(self._stops.step())
        if ended.address == masks.address + 4:
            ended = self._inspection.locate(self._stops.step())
        return ended

    def walks(self) -> Iterator[Walk]:
        """Walk a path, and again if an interrupt met a step of it: up to three times.

        There are windows that no variant closes, because what happens to an interrupt in them
        is not the step's: some microseconds in which one that falls due is taken with SPSR.SS
        clear. The metric ``windows`` counts the walks that met one; that is no verdict while
        another walk meets none. Raises the KernelFault of the first if every walk did.
        """
        windows: tuple[Window, ...] = ()
        for _ in range(WALKS):
            walk = Walk(windows)
            yield walk
            if walk.window is None:
                break
            windows += (walk.window,)
        self._metrics["windows"] = len(windows)
        if len(windows) == WALKS:
            raise windows[0].fault
