# SPDX-License-Identifier: GPL-2.0-only
"""One step, by the emulator's record: one instruction, and every handler before it whole.

What kdb says of a step is what the kernel under test says of itself. A kernel that runs an
instruction unseen, or twice, and reports the right PC, is caught only from below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstep.arm64.branch import is_exclusive
from kstep.base.outcome import KernelFault, Signature
from kstep.machine.execution import Interruption

if TYPE_CHECKING:
    from collections.abc import Callable

    from kstep.image.symbols import CodeAddress
    from kstep.machine.execution import Execution


def must_be_one(
    number: int,
    before: CodeAddress,
    word: int,
    after: CodeAddress,
    execution: Execution,
    locate: Callable[[int], CodeAddress],
) -> None:
    """Raise KernelFault if step ``number`` did not execute the instruction ``word`` once.

    The step led from ``before`` to ``after``, by what the debugger says.
    ``runaway`` if others ran too, or it ran twice; ``stuck`` if it did not run; and
    ``enters-interrupt`` if the step ended in a handler. An instruction that raised an
    abort, and was run again when that had been handled, counts once. A load- or store-exclusive
    need not run: no step gets through a pair of them, so that a debugger may do them itself.
    """
    if execution.level != 1:
        raise KernelFault(
            Signature.ENTERS_INTERRUPT,
            f"step {number} from {before} ended in a handler, with {execution.level - 1} exceptions"
            " taken since that have not returned",
        )
    ran = completed(execution)
    # QEMU tells a plugin of an instruction before it finds that a step exception is pending there
    # ("active-pending" in aarch64_tr_translate_insn(), target/arm/translate-a64.c of 7.2).
    if ran == (after.address,) and after != before:
        ran = ()
    if not execution.whole:
        more = f"{len(ran)} instructions and more"
    elif not ran and is_exclusive(word):
        return
    elif not ran:
        raise KernelFault(
            Signature.STUCK, f"step {number} ended without executing the instruction at {before}"
        )
    elif ran == (before.address,):
        return
    else:
        more = ", ".join(str(locate(address)) for address in ran)
    raise KernelFault(
        Signature.RUNAWAY,
        f"step {number} from {before} executed more than that instruction: {more}",
    )


def completed(execution: Execution) -> tuple[int, ...]:
    """Return the instructions of the stepped context that were executed to their end.

    One that raised an abort was only begun: it is executed again. The last exception is kgdb's
    own, and its instruction has been completed.
    """
    events = execution.events
    return tuple(
        event
        for event, after in zip(events, (*events[1:], None), strict=True)
        if isinstance(event, int) and not (isinstance(after, Interruption) and after.abort)
    )


def data(execution: Execution) -> list[dict[str, object]]:
    """Return the events of a step as plain data, for the trace of a cell."""
    return [
        {
            "vector": f"{event.vector:#x}",
            "instructions": event.instructions,
            "abort": event.abort,
        }
        if isinstance(event, Interruption)
        else {"pc": f"{event:#x}"}
        for event in execution.events
    ]
