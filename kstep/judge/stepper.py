# SPDX-License-Identifier: GPL-2.0-only
"""A path: consecutive single steps, each compared with the oracle."""

from __future__ import annotations

import re
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
from kstep.judge import executed
from kstep.judge.livelock import Progress
from kstep.machine.interface import UnmappedError
from kstep.results import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kstep.console.kdb import Stop
    from kstep.image.symbols import CodeAddress, Symbols
    from kstep.judge.livelock import Debugger
    from kstep.judge.text import LiveText
    from kstep.machine.execution import Execution


AFTERWARDS = 3  # steps taken after a departure, to tell where it leads
# What the compiler calls between two instructions of a function, before each access (mm/kasan) or
# in each block (kernel/kcov.c).
INSTRUMENTATION = re.compile(r"^(__asan_|__kasan_check_|kasan_check_range|__sanitizer_cov_)")


@dataclass(frozen=True)
class End:
    """The instruction at which a path ends because it cannot be stepped, and the reason."""

    instruction: Instruction
    why: str


WHY_ENDED = {
    Flow.EXCEPTION_RETURN: "returns from an exception, to user space or to the interrupted code",
    Flow.EXCEPTION: "raises an exception by design",
}
MASKS_DEBUG = "masks debug exceptions: no step traps until they are unmasked"
FINDS_WORK = "exit-to-user work (usually schedule()) cannot be stepped: kgdb holds dbg_slave_lock"


@dataclass(frozen=True)
class Step:
    """One step: the address before it, the addresses that the oracle allows, the address after."""

    number: int
    before: CodeAddress
    instruction: Instruction
    expected: frozenset[int]
    after: CodeAddress
    stop: Stop
    path: SteppedPath = field(repr=False)
    execution: Execution | None = None  # what the emulator executed, if that is recorded

    @property
    def in_order(self) -> bool:
        """Whether the step followed program order."""
        return self.after.address in self.expected

    @property
    def returned(self) -> bool:
        """Whether the step was a return from a function.

        Then it is safe to `go`. kgdb holds dbg_slave_lock from the first step until `go`, so
        stepped code reads a preemption count that is one too high, and a function resumed
        halfway would write it back (kernel/debug/debug_core.c). A return from what the compiler
        calls halfway through a function, such as KASAN's checks, is no such return.
        """
        returns = self.instruction.flow is Flow.INDIRECT and not self.instruction.links
        return returns and INSTRUMENTATION.search(self.before.symbol) is None

    def must_follow_program_order(self) -> None:
        """Raise KernelFault if the step went elsewhere."""
        if not self.in_order:
            raise self.path.departure(self)

    def must_execute_once(self) -> Execution:
        """Raise KernelFault if the step did not execute its instruction once, and no other.

        By the emulator's record, whatever kdb says; see executed.must_be_one(). Returns the record.
        """
        if self.execution is None:
            raise MachineryError("this machine does not record what a step executes")
        executed.must_be_one(
            self.number,
            self.before,
            self.instruction.word,
            self.after,
            self.execution,
            self.path.locate,
        )
        return self.execution

    def must_make_progress(self) -> None:
        """Raise KernelFault ``livelock`` if the path loops without progress."""
        self.path.progress.require(self.number, self.before, self.instruction.word)


@dataclass
class Tally:
    """Totals of the steps of a cell, over all its paths."""

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
    """The steps from a stop; ``trace`` gets one line of JSON per step.

    ``take`` makes one step and returns the stop; it calls what it is given while the kernel runs.
    ``tally`` counts. If the serial line is not trusted, ``confirm`` reads an unexpected stop a
    second time, and ``glance`` reads the registers only once; both are None for a trusted line.
    ``record`` returns what a CPU executed since it was resumed, if the machine knows.
    """

    def __init__(
        self,
        start: Stop,
        take: Callable[[Callable[[], None]], Stop],
        debugger: Debugger,
        text: LiveText,
        symbols: Symbols,
        trace: IO[str] | None,
        tally: Tally,
        confirm: Callable[[Stop], Stop] | None = None,
        glance: Callable[[], dict[str, int]] | None = None,
        record: Callable[[int], Execution] | None = None,
    ) -> None:
        assert start.pc is not None  # noqa: S101 -- breakpoints and steps name their PC
        self._take = take
        self._debugger = debugger
        self._text = text
        self._symbols = symbols
        self._trace = trace
        self._tally = tally
        self._confirm = confirm
        self._glance = glance
        self._record = record
        self.locate = symbols.locate
        self.pc: int = start.pc
        self.end: End | None = None  # once it is reached
        self._began_with_work = self._is_work(start.pc)
        self.progress = Progress(debugger, text)
        self._steps = 0
        self._untold: tuple[Step, float] | None = None  # the last step, and its seconds

    def steps(self, count: int) -> Iterator[Step]:
        """Take up to ``count`` steps; end earlier if the path cannot be stepped further.

        It ends before an exception return, which leads to user space or to the interrupted
        code; before an instruction that raises an exception by design; before debug exceptions
        are masked (local_daif_mask() on exit to user space), because no step traps until they
        are unmasked; and before exit-to-user work (see WORK).
        """
        try:
            for _ in range(count):
                instruction = self._instruction()
                if why := self._why_not_stepped(instruction):
                    self.end = End(instruction, why)
                    return
                yield self._step(instruction)
        finally:
            self._tell()

    def _why_not_stepped(self, instruction: Instruction) -> str:
        if instruction.flow in WHY_ENDED:
            return WHY_ENDED[instruction.flow]
        if masks_debug(instruction.word, self._debugger.registers):
            return MASKS_DEBUG
        if not self._began_with_work and self._is_work(instruction.pc):
            return FINDS_WORK
        return ""

    def _is_work(self, pc: int) -> bool:
        return is_work(self._symbols.locate(pc))

    def _instruction(self) -> Instruction:
        try:
            return decode(self._text.word(self.pc), self.pc)
        except UnmappedError as error:
            raise KernelFault(
                Signature.OFF_ORDER, f"the path leads to {self.pc:#x}, which is not mapped"
            ) from error

    def _successors(self, instruction: Instruction) -> frozenset[int]:
        if not _depends(instruction):
            return instruction.successors()
        if self._glance is not None:
            return instruction.successors(self._glance())
        return instruction.successors(
            {name: self._debugger.register(name) for name in instruction.reads}
        )

    def _step(self, instruction: Instruction) -> Step:
        expected = self._successors(instruction)
        began = time.monotonic()
        stop = self._take(self._tell)
        seconds = time.monotonic() - began
        if stop.pc not in expected:
            # Read again before judging: the serial line may have changed a digit of the PC, and
            # the text may have been patched since it was read.
            if self._confirm is not None:
                stop = self._confirm(stop)
                if stop.pc not in expected:
                    self._require_same_registers(instruction, stop)
            self._text.forget()
            again = decode(self._text.word(instruction.pc), instruction.pc)
            if again.word != instruction.word and not again.needs_registers:
                instruction, expected = again, again.successors()
        assert stop.pc is not None  # noqa: S101 -- steps name their PC
        self._steps += 1
        step = Step(
            number=self._steps,
            before=self._symbols.locate(instruction.pc),
            instruction=instruction,
            expected=expected,
            after=self._symbols.locate(stop.pc),
            stop=stop,
            path=self,
            execution=self._record(stop.cpu) if self._record else None,
        )
        self._tally.steps += 1
        self._tally.in_order += step.in_order
        self._tally.interrupts += not step.in_order and is_interrupt(step.after)
        self._tally.seconds += seconds
        self._tally.pcs.add(instruction.pc)
        self.progress.visit(instruction.pc)
        self.pc = stop.pc
        self._untold = step, seconds
        return step

    def _tell(self) -> None:
        """Write the last step to the trace, if it is not there: during the next one."""
        untold, self._untold = self._untold, None
        if self._trace is not None and untold is not None:
            self._trace.write(_line(*untold))

    def _require_same_registers(self, instruction: Instruction, stop: Stop) -> None:
        """Raise MachineryError if a step went where the registers after it, not before it, lead.

        For a line that is not trusted; on another one the kernel has changed them. A branch does
        not change a register on which it depends (``blr x30`` does, and no compiler emits it), so
        the kernel or the line did: which is unknown.
        """
        if _depends(instruction) and stop.pc in instruction.successors(self._debugger.registers()):
            raise MachineryError(
                f"the step from {self._symbols.locate(instruction.pc)} went where the registers"
                " that were read after it lead, not those that were read before",
                Signature.CONSOLE_LOST,
            )

    def departure(self, step: Step) -> KernelFault:
        """Return how a step left program order; takes a few more steps to see where it leads.

        ``stuck`` if the PC stays the same; otherwise the address after the step decides.
        """
        visited = [step.after]
        later = ""
        try:
            while len(visited) <= AFTERWARDS:
                visited.append(self._step(self._instruction()).after)
        except (KernelFault, MachineryError) as error:
            # Stepping on may be impossible there; the departure itself is already known.
            later = f"; then: {error}"
        self._tell()
        return self.fault(step, visited, later)

    def fault(self, step: Step, visited: Sequence[CodeAddress], later: str = "") -> KernelFault:
        """Classify a departure by the addresses after it and the steps that follow."""
        stuck = len(visited) > AFTERWARDS and len({each.address for each in visited}) == 1
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
        elif visited[1:]:
            later = f", and then to {', '.join(map(str, visited[1:]))}{later}"
        wanted = " or ".join(str(self._symbols.locate(a)) for a in sorted(step.expected))
        why = "" if step.stop.reason == "SS trap" else f" ({step.stop.reason})"
        return KernelFault(
            signature,
            f"step {step.number} from {step.before} went to {step.after}{why},"
            f" not to {wanted or 'an exception'}{later}",
        )


def _depends(instruction: Instruction) -> bool:
    return instruction.needs_registers or instruction.flow is Flow.CONDITIONAL


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
        executed=None if step.execution is None else executed.data(step.execution),
    )
