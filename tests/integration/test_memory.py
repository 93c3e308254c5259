# SPDX-License-Identifier: GPL-2.0-only
"""Memory that is read beside QEMU is what QEMU and the kernel themselves say it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base import temporary
from kstep.build import system_map
from kstep.build.kernel import Kernel
from kstep.image.symbols import Symbols
from kstep.judge.context import Context
from kstep.machine.hardware import Hardware
from kstep.machine.interface import UnmappedError
from kstep.machine.qemu import QemuMachine
from kstep.session.target import Target

if TYPE_CHECKING:
    from kstep.run.preparation import Prepared

pytestmark = pytest.mark.kernel

STEPS = 50
READ = 64  # bytes


def test_registers_and_memory_are_those_that_kdb_and_qemu_show(prepared: Prepared) -> None:
    """Along a path, at every step: in the frame, on the stack, in the text, of a per-CPU area."""
    kernel = prepared.built[0].kernel
    assert isinstance(kernel, Kernel)
    with QemuMachine(
        kernel, prepared.initramfs.path, Hardware(cpus=2), prepared.toolchain, prepared.accel
    ) as machine:
        assert machine.shares_memory
        assert list(temporary.IN_MEMORY.glob(f"{temporary.prefix()}*/*"))
        target = Target(machine, Symbols.load(kernel.system_map))
        machine.boot()
        assert not list(temporary.IN_MEMORY.glob(f"{temporary.prefix()}*/*"))
        context = Context.of(machine)
        assert context is not None
        jiffies = system_map.find(kernel.system_map, "jiffies")
        assert jiffies is not None
        with target.stopped_at("meminfo_proc_show", "cat /proc/meminfo") as stop:
            per_cpu = target.kdb.per_cpu_address("runqueues")
            stop.clear()
            for step in target.steps_to_a_return(STEPS):
                step.must_follow_program_order()
                registers = target.kdb.registers()
                assert context.registers() == registers
                assert context.register("sp") == registers["sp"]
                for at in (registers["sp"], registers["pc"], jiffies, per_cpu):
                    assert machine.read(at, READ) == machine.monitor.read(at, READ), hex(at)
            with pytest.raises(UnmappedError):
                machine.read(0xFFFF_FFFF_FFFF_F000, READ)
