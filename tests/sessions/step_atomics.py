# SPDX-License-Identifier: GPL-2.0-only
"""Can atomic operations be stepped through?

Claim: an exclusive load/store pair cannot be stepped through, because each step is an
exception, each exception clears the exclusive monitor, and the store fails for ever; one
atomic instruction (LSE) can. The architecture says so (Arm ARM, B2.9.5). The session shows that
it is no fault of v5 and v6, and why the other sessions use a CPU with LSE atomics. A kernel
whose debugger does such instructions in their place, as v7's does, can be stepped through them.

Measured: the same path, with a spinlock and reference counts in it, on a CPU with LSE
atomics and on one without; the atomic instructions and the exclusive pairs stepped. After each
exclusive access the register is compared with memory, which kdb reads (`mdr`).

Refuted by a path that loops for ever (`livelock`), which without LSE atomics is expected; by a
step out of order, as in `step-in-order`; by a store-exclusive that says it has stored and has not,
or a load-exclusive that has not loaded what is there (`wrong-memory`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kstep.arm64.branch import is_atomic, is_exclusive, is_store_exclusive
from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.machine.hardware import Hardware
from kstep.session.session import session

if TYPE_CHECKING:
    from kstep.judge.stepper import Step
    from kstep.session.target import Target

ZERO = 31  # the register that is the stack pointer as a base, and zero as data


@dataclass(frozen=True)
class Cpu:
    """The CPU that the path is stepped on."""

    name: str
    hardware: Hardware


@session(
    claim="Atomic operations can be stepped through if each is one instruction.",
    cases=(
        Cpu("lse", Hardware(cpu="cortex-a76")),
        Cpu("exclusive", Hardware(cpu="cortex-a57")),
    ),
    area="steps",
)
def step_atomics(target: Target, _cpu: Cpu) -> None:
    """Step a path with atomic operations in it, and check that it makes progress."""
    target.metrics.update(atomics=0, exclusives=0, exclusives_stored=0)
    with target.stopped_at("set_fs_pwd", "cd /tmp"):
        for step in target.steps_to_a_return(300):
            step.must_follow_program_order()
            step.must_make_progress()
            target.metrics["atomics"] += is_atomic(step.instruction.word)
            if is_exclusive(step.instruction.word):
                check_exclusive(target, step)
        if not target.metrics["atomics"] and not target.metrics["exclusives"]:
            raise MachineryError("there is no atomic operation on the path")
    target.must_tick()


def check_exclusive(target: Target, step: Step) -> None:
    """Compare the first register of an exclusive access, just stepped, with memory.

    Fields are those of "Load/store exclusive register" and "pair" in the Arm ARM (C4.1): the size,
    at bit 30, is of one register; the status, of a store, is 0 if it took place.
    """
    word = step.instruction.word
    stores = is_store_exclusive(word)
    status, base, register = word >> 16 & 31, word >> 5 & 31, word & 31
    kdb = target.kdb
    registers = kdb.registers()
    if stores:
        target.metrics["exclusives"] += 1
        if registers[f"x{status}"] != 0:
            return
        target.metrics["exclusives_stored"] += 1
    if base == register:  # a load that has replaced its address
        return
    size = 1 << (word >> 30)
    address = registers["sp" if base == ZERO else f"x{base}"]
    content = kdb.read(address, size)
    if content is None:
        raise MachineryError(f"kdb cannot read memory at {address:#x}")
    there = int.from_bytes(content, "little")
    value = 0 if register == ZERO else registers[f"x{register}"] & (1 << 8 * size) - 1
    if there != value:
        raise KernelFault(
            Signature.WRONG_MEMORY,
            f"after the step of the {'store' if stores else 'load'}-exclusive at {step.before},"
            f" memory at {address:#x} is {there:#x}, and x{register} is {value:#x}",
        )
