# SPDX-License-Identifier: GPL-2.0-only
"""A path: single steps one after another, each held against the oracle."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from kstep.arm64.branch import (
    Flow,
    Instruction,
    decode,
)
from kstep.arm64.daif import masks_debug
from kstep.arm64.entry import EXCEPTION, is_interrupt, is_work
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.judge.livelock import Progress
from kstep.machine.interface import UnmappedError
from kstep.results import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kstep.console.kdb import Stop
    from kstep.image.symbols import Place, Symbols
    from kstep.judge.livelock import Debugger
    from kstep.judge.text import Text


AFTERWARDS = 3  # steps taken after a departure, to tell where it leads


@dataclass(frozen=True)
class End:
    """What a path ends at, for it cannot be stepped, and why not."""

    instruction: Instruction
    why: str


WHY_ENDED = {
    Flow.EXCEPTION_RETURN: "it returns from an exception, to user space or to what was interrupted",
    Flow.EXCEPTION: "it raises an exception by design",
}
MASKS_DEBUG = "it masks debug exceptions: nothing is stepped until they are unmasked"
FINDS_WORK = (
    "it does what is due on the way to user space, mostly schedule(), and kgdb holds a lock"
)


@dataclass(frozen=True)
class Step:
    """One step: where it was, where the oracle lets it go, where it went."""

    number: int
    before: Place
    instruction: Instruction
    expected: frozenset[int]
    after: Place
    stop: Stop
    path: SteppedPath = field(repr=False)

    @property
    def in_order(self) -> bool:
        """Whether the step went where program order goes."""
        return self.after.address in self.expected

    @property
    def returned(self) -> bool:
        """Whether the step was a return from a function.

        Then nothing is half done there. That matters to whoever says `go`: kgdb holds
        dbg_slave_lock from the first step to `go`, so what is stepped finds a preemption
        count that is one higher, and would write it back (kernel/debug/debug_core.c).
        """
        return self.instruction.flow is Flow.INDIRECT and not self.instruction.links

    def must_follow_program_order(self) -> None:
        """Raise KernelFault where the step went elsewhere."""
        if not self.in_order:
            raise self.path.departure(self)

    def must_make_progress(self) -> None:
        """Raise KernelFault ``livelock`` where the path goes round and changes nothing."""
        self.path.progress.require(self.number, self.before, self.instruction.word)


@dataclass
class Tally:
    """What the steps of a cell add up to, over all its paths."""

    steps: int = 0
    in_order: int = 0
    interrupts: int = 0
    seconds: float = 0.0
    pcs: set[int] = field(default_factory=set)

    @property
    def metrics(self) -> dict[str, float]:
        """Counts of steps, and how many a second."""
        return {
            "steps": self.steps,
            "in_order": self.in_order,
            "off_order": self.steps - self.in_order,
            "irq_entries": self.interrupts,
            "distinct_pcs": len(self.pcs),
            "steps_per_second": round(self.steps / self.seconds, 1) if self.seconds else 0.0,
        }


class SteppedPath:
    """The steps from a stop on; ``trace`` gets one line of JSON a step.

    ``take`` makes the kernel step and returns where it stopped; ``tally`` counts.
    """

    def __init__(
        self,
        start: Stop,
        take: Callable[[], Stop],
        debugger: Debugger,
        text: Text,
        symbols: Symbols,
        trace: IO[str] | None,
        tally: Tally,
    ) -> None:
        assert start.pc is not None  # noqa: S101 -- breakpoints and steps name their PC
        self._take = take
        self._debugger = debugger
        self._text = text
        self._symbols = symbols
        self._trace = trace
        self._tally = tally
        self.pc: int = start.pc
        self.end: End | None = None  # once it is reached
        self._began_with_work = self._is_work(start.pc)
        self.progress = Progress(debugger, text)
        self._steps = 0

    def steps(self, count: int) -> Iterator[Step]:
        """Take up to ``count`` steps; end sooner where the path leaves what can be stepped.

        It ends before an exception return, for that leads to user space or to whatever
        was interrupted, before an instruction that raises an exception by design, and
        before debug exceptions are masked (local_daif_mask() on the way to user space),
        for nothing can be stepped until they are unmasked; and before what a system call has
        to do on that way (see WORK).
        """
        for _ in range(count):
            instruction = self._instruction()
            if why := self._why_not_stepped(instruction):
                self.end = End(instruction, why)
                return
            yield self._step(instruction)

    def _why_not_stepped(self, instruction: Instruction) -> str:
        if instruction.flow in WHY_ENDED:
            return WHY_ENDED[instruction.flow]
        if masks_debug(instruction.word, self._debugger.registers):
            return MASKS_DEBUG
        if not self._began_with_work and self._is_work(instruction.pc):
            return FINDS_WORK
        return ""

    def _is_work(self, pc: int) -> bool:
        return is_work(self._symbols.place(pc))

    def _instruction(self) -> Instruction:
        try:
            return decode(self._text.word(self.pc), self.pc)
        except UnmappedError as error:
            raise KernelFault(
                Signature.OFF_ORDER, f"the path leads to {self.pc:#x}, where nothing is"
            ) from error

    def _successors(self, instruction: Instruction) -> frozenset[int]:
        needed = instruction.needs_registers or instruction.flow is Flow.CONDITIONAL
        return instruction.successors(self._debugger.registers() if needed else None)

    def _step(self, instruction: Instruction) -> Step:
        expected = self._successors(instruction)
        began = time.monotonic()
        stop = self._take()
        seconds = time.monotonic() - began
        assert stop.pc is not None  # noqa: S101 -- likewise
        if stop.pc not in expected:
            # The text may have been patched since it was read: look again before judging.
            self._text.forget()
            again = decode(self._text.word(instruction.pc), instruction.pc)
            if again.word != instruction.word and not again.needs_registers:
                instruction, expected = again, again.successors()
        self._steps += 1
        step = Step(
            number=self._steps,
            before=self._symbols.place(instruction.pc),
            instruction=instruction,
            expected=expected,
            after=self._symbols.place(stop.pc),
            stop=stop,
            path=self,
        )
        self._tally.steps += 1
        self._tally.in_order += step.in_order
        self._tally.interrupts += not step.in_order and is_interrupt(step.after)
        self._tally.seconds += seconds
        self._tally.pcs.add(instruction.pc)
        self.progress.visit(instruction.pc)
        self.pc = stop.pc
        if self._trace is not None:
            self._trace.write(_line(step, seconds))
        return step

    def departure(self, step: Step) -> KernelFault:
        """Say how a step left program order; takes some more steps to see where it leads.

        ``stuck`` where the same PC comes again and again, else what the place tells.
        """
        places = [step.after]
        later = ""
        try:
            while len(places) <= AFTERWARDS:
                places.append(self._step(self._instruction()).after)
        except (KernelFault, MachineryError) as error:
            # Where it went may be no place to step from; that it went there is seen already.
            later = f"; then: {error}"
        return self.fault(step, places, later)

    def fault(self, step: Step, places: Sequence[Place], later: str = "") -> KernelFault:
        """Say what a departure is by where it and the steps after it went."""
        stuck = len(places) > AFTERWARDS and len({place.address for place in places}) == 1
        if stuck or step.after == step.before:
            signature = Signature.STUCK
        elif is_interrupt(step.after):
            signature = Signature.ENTERS_INTERRUPT
        elif EXCEPTION.search(step.after.symbol):
            signature = Signature.ENTERS_EXCEPTION
        else:
            signature = Signature.OFF_ORDER
        if stuck:
            later = ", and stays there"
        elif places[1:]:
            later = f", and then to {', '.join(map(str, places[1:]))}{later}"
        wanted = " or ".join(str(self._symbols.place(a)) for a in sorted(step.expected))
        why = "" if step.stop.reason == "SS trap" else f" ({step.stop.reason})"
        return KernelFault(
            signature,
            f"step {step.number} from {step.before} went to {step.after}{why},"
            f" not to {wanted or 'an exception'}{later}",
        )


def _line(step: Step, seconds: float) -> str:
    return trace.line(
        number=step.number,
        pc=step.before.address,
        at=str(step.before),
        word=step.instruction.word,
        flow=step.instruction.flow,
        expected=step.expected,
        to=step.after.address,
        to_at=str(step.after),
        reason=step.stop.reason,
        pid=step.stop.pid,
        cpu=step.stop.cpu,
        in_order=step.in_order,
        seconds=seconds,
    )
