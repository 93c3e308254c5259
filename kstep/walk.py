# SPDX-License-Identifier: GPL-2.0-only
"""One ad-hoc session: any function, any trigger, and the path that steps take from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from capstone import CS_ARCH_ARM64, CS_MODE_ARM, Cs

from kstep.errors import RequestError
from kstep.kdb import CommandRefusedError
from kstep.kernel import Kernel
from kstep.lines import source_lines
from kstep.machine import Hardware, Machine
from kstep.outcome import KernelFault
from kstep.symbols import Symbols
from kstep.target import Target

if TYPE_CHECKING:
    from kstep.path import Step
    from kstep.verification import Prepared


@dataclass(frozen=True)
class Walk:
    """The steps that were taken, and how they ended: ``fault`` is None where all is well."""

    steps: tuple[Step, ...]
    fault: KernelFault | None
    lines: dict[int, str]  # "file:line" by address

    def text(self) -> list[str]:
        """Describe each step: number, place, instruction, source line; departures marked."""
        disassembler = Cs(CS_ARCH_ARM64, CS_MODE_ARM)
        shown = []
        for step in self.steps:
            pc, word = step.instruction.pc, step.instruction.word
            decoded = next(disassembler.disasm(word.to_bytes(4, "little"), pc), None)
            what = (
                f".word {word:#010x}" if decoded is None else f"{decoded.mnemonic} {decoded.op_str}"
            )
            sign = " " if step.in_order else "!"
            source = self.lines.get(pc, "")
            shown.append(f"{sign}{step.number:5} {step.before!s:40} {what:36} {source}".rstrip())
            if not step.in_order:
                shown.append(f"!      went to {step.after}")
        return shown


def walk(prepared: Prepared, function: str, trigger: str, count: int) -> Walk:
    """Step ``function`` on the one kernel that was prepared, up to ``count`` times.

    Raises RequestError for a function that is not there, may not be stopped in, or is not
    reached by the trigger.
    """
    kernel = prepared.built[0].kernel
    if not isinstance(kernel, Kernel):
        raise kernel
    symbols = Symbols.load(kernel.system_map)
    if function not in symbols:
        near = ", ".join(symbols.like(function)) or "none"
        raise RequestError(
            f"function {function}: this kernel has none of that name (it may be inlined, or not"
            f" configured); the nearest names: {near}"
        )
    steps: list[Step] = []
    fault: KernelFault | None = None
    with Machine(kernel, prepared.initramfs.path, Hardware(), prepared.toolchain) as machine:
        machine.boot()
        target = Target(machine, symbols)
        try:
            stop = target.stop_in(function, trigger)
            if stop is None:
                raise RequestError(
                    f"function {function}: the command {trigger!r} ended and had not reached it"
                )
            for step in target.steps(count):
                steps.append(step)
                step.must_follow_program_order()
                step.must_get_on()
        except KernelFault as found:
            fault = target.hear_out(found)
        except CommandRefusedError as error:
            raise RequestError(f"function {function}: {error}") from error
    addresses = sorted({step.instruction.pc for step in steps})
    return Walk(tuple(steps), fault, source_lines(kernel, addresses, prepared.toolchain))
