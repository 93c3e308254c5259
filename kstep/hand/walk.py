# SPDX-License-Identifier: GPL-2.0-only
"""One ad-hoc session: any function, any trigger, and the path of the steps from there."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs

from kstep.arm64 import daif
from kstep.arm64.entry import is_interrupt
from kstep.base.errors import MachineryError, RequestError
from kstep.base.outcome import KernelFault, Signature
from kstep.console.kdb import CommandRefusedError, Stop
from kstep.hand import stop_point
from kstep.hand.detour import still_running, what_ran
from kstep.image.debuginfo import source_lines
from kstep.image.symbols import Symbols
from kstep.judge.stepper import AFTERWARDS
from kstep.session.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kstep.arm64.branch import Instruction
    from kstep.console.shell import CommandResult
    from kstep.judge.stepper import Step
    from kstep.machine.hardware import Hardware
    from kstep.run.building import Built
    from kstep.run.preparation import Prepared

PATIENCE = 20.0  # seconds for a trigger to reach the function, before the time scale
NO_COMMAND = (126, 127)  # a shell's status for a command that it cannot run


@dataclass(frozen=True)
class Walk:
    """The steps that were taken, and how they ended: ``fault`` is None if nothing went wrong.

    ``lines`` has ``file:line`` by address, ``sources`` the lines of text by file.
    """

    start: Stop | None  # None if a fault came before the stop
    steps: tuple[Step, ...]
    fault: KernelFault | None
    symbols: Symbols
    lines: Mapping[int, str]
    sources: Mapping[str, Sequence[str]]

    def text(self) -> list[str]:
        """Describe each step: number, address, instruction, source line.

        ``!`` marks a step that left program order, ``i`` those in the interrupt that it
        entered.
        """
        shown = []
        if self.start is not None and self.start.pc is not None:
            at, cpu = self.symbols.locate(self.start.pc), self.start.cpu
            shown = [f"stopped at {at}, pid {self.start.pid}, CPU {cpu}"]
        last, interrupted = "", False
        for step in self.steps:
            source = self.lines.get(step.instruction.pc, "")
            line = source if source == last else self._with_text(source)
            last = source
            mark = "!" if not step.in_order else "i" if interrupted else " "
            code = self._disassemble(step.instruction)
            shown.append(f"{mark}{step.number:5} {step.before!s:36} {code:40} {line}".rstrip())
            if not step.in_order:
                interrupted = is_interrupt(step.after)
                where = "enters an interrupt" if interrupted else "leaves program order"
                shown.append(f"!      {where}: {step.after}")
        return shown

    @property
    def ending(self) -> str:
        """Describe the end in one line."""
        if self.fault is not None:
            return f"{self.fault.signature}: {self.fault}"
        count = len(self.steps)
        said = f"{count} step in order" if count == 1 else f"{count} steps in order"
        if not self.steps:
            return f"{said}: the function's first instruction cannot be stepped"
        end = self.steps[-1].path.end
        if end is None:
            return said
        at, code = self.symbols.locate(end.instruction.pc), self._disassemble(end.instruction)
        return f"{said}, to the path's end: {at} {code} ({end.why})"

    def _with_text(self, source: str) -> str:
        file, _, number = source.rpartition(":")
        lines = self.sources.get(file, ())
        if not number.isdigit() or not 0 < int(number) <= len(lines):
            return source
        return f"{source}: {lines[int(number) - 1].strip()}"

    def _disassemble(self, instruction: Instruction) -> str:
        decoder = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
        code = instruction.word.to_bytes(4, "little")
        decoded = next(decoder.disasm(code, instruction.pc), None)
        if decoded is None:
            return f".word {instruction.word:#010x}"
        operands = str(decoded.op_str)
        if instruction.target is not None:
            target = self.symbols.locate(instruction.target)
            operands = operands.replace(f"#{instruction.target:#x}", str(target))
        return f"{decoded.mnemonic} {operands}".rstrip()


def walk(
    prepared: Prepared,
    function: str,
    trigger: str,
    count: int,
    on_step: Callable[[], None],
    hardware: Hardware,
) -> Walk:
    """Step ``function`` on the one prepared kernel, up to ``count`` times.

    Continues after a step that left program order, to show where it leads, unless the kernel is
    stuck there. ``on_step`` is called at each step. Raises RequestError for a function that does
    not exist, cannot be stopped or stepped in, or is not reached by the trigger.
    """
    built = prepared.built[0]
    kernel = built.require()
    symbols = Symbols.load(kernel.system_map)
    stop_points = stop_point.find(function, kernel, symbols, prepared.toolchain)
    command = f"eval {shlex.quote(trigger)}"
    with prepared.machine(kernel, hardware) as machine:
        machine.boot()
        target = Target(machine, symbols)
        _require_command(target, trigger)
        reaching = f"function {function}: the command {trigger!r}"
        try:
            start = _start(target, stop_points, command, reaching)
        except CommandRefusedError as error:
            why = stop_point.why_refused(stop_points, kernel, symbols, str(error))
            raise RequestError(f"function {function}: {why}") from error
        except KernelFault as found:
            return Walk(None, (), target.drain(found), symbols, {}, {})
        except MachineryError as error:
            message = f"{error}, while the command {trigger!r} ran"
            raise MachineryError(message, error.signature, error.details) from error
        if isinstance(start, Stop):
            _require_unmasked(target, function)
            steps, fault = _step(target, count, on_step)
    if not isinstance(start, Stop):
        said = (start.text.strip().splitlines() or ["nothing"])[-1]
        if start.status in NO_COMMAND:
            raise RequestError(f"--trigger {trigger!r}: the guest cannot run it: {said}")
        raise RequestError(
            f"function {function}: the command {trigger!r} ended with status {start.status} and"
            f" did not reach it; it printed: {said};"
            f" {what_ran(prepared, hardware, symbols, stop_points, command)}"
        )
    addresses = sorted({step.instruction.pc for step in steps})
    lines = source_lines(kernel, addresses, prepared.toolchain)
    sources = _sources(built, {line.rpartition(":")[0] for line in lines.values()})
    return Walk(start, tuple(steps), fault, symbols, lines, sources)


def _start(
    target: Target, stop_points: Sequence[int], command: str, what: str
) -> Stop | CommandResult:
    """Run the command until a stop point is reached, or it ends.

    Raises RequestError if neither happens, and KernelFault if the guest does not answer.
    """
    try:
        return target.stop_in(stop_points, command, PATIENCE)
    except KernelFault as fault:
        if fault.signature is not Signature.HANG:
            raise
    try:
        instead = still_running(target)
    except KernelFault as fault:
        raise KernelFault(
            Signature.HANG,
            f"the guest hangs with the breakpoint set, which happens if the debugger itself, or its"
            f" exception entry, runs the function: {fault}",
        ) from fault
    raise RequestError(
        f"{what} did not reach it, and did not end, within {PATIENCE:g} s; {instead}"
    )


def _require_unmasked(target: Target, function: str) -> None:
    """Raise RequestError if no step would trap, so that the next interrupt would be blamed.

    A breakpoint is hit there even so: PSTATE.D does not mask BRK. An example is do_el0_svc(), on
    entry from user space.
    """
    if target.kdb.registers()["pstate"] & daif.DEBUG:
        raise RequestError(
            f"function {function}: entered with debug exceptions masked (PSTATE.D), so no step"
            " traps until they are unmasked; name one that it calls"
        )


def _require_command(target: Target, trigger: str) -> None:
    """Raise RequestError for a syntax error in the trigger."""
    answer = target.ask(f"sh -n -c {shlex.quote(trigger)}")
    if answer.status:
        raise RequestError(f"--trigger {trigger!r}: {answer.text.strip()}")


def _step(
    target: Target, count: int, on_step: Callable[[], None]
) -> tuple[list[Step], KernelFault | None]:
    """Take the steps; return them, and the first fault."""
    steps: list[Step] = []
    later: KernelFault | None = None
    try:
        for step in target.steps(count):
            steps.append(step)
            on_step()
            latest = steps[-AFTERWARDS - 1 :]
            if len(latest) > AFTERWARDS and len({each.after.address for each in latest}) == 1:
                break
            step.must_make_progress()
    except KernelFault as found:
        later = target.drain(found)
    departed = next((n for n, step in enumerate(steps) if not step.in_order), None)
    if departed is None:
        return steps, later
    after = [step.after for step in steps[departed : departed + AFTERWARDS + 1]]
    step = steps[departed]
    return steps, step.path.fault(step, after, "" if later is None else f"; later: {later}")


def _sources(built: Built, files: Iterable[str]) -> dict[str, list[str]]:
    """Read the source files of a kernel's variant."""
    altered = built.variants[0][1].files
    found = {}
    for file in files:
        path = built.tree.source / file
        data = altered[file] if file in altered else path.read_bytes() if path.is_file() else None
        if data is not None:
            found[file] = data.decode(errors="replace").splitlines()
    return found
