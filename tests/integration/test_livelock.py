# SPDX-License-Identifier: GPL-2.0-only
"""A path in order that makes no progress is distinguished from one that does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.outcome import KernelFault, Signature
from kstep.build.kernel import Kernel
from kstep.image.symbols import Symbols
from kstep.machine.hardware import Hardware
from kstep.machine.qemu import QemuMachine
from kstep.session import session
from kstep.session.target import Target
from tests.integration.command import ROOT

if TYPE_CHECKING:
    from kstep.run.preparation import Prepared


pytestmark = pytest.mark.kernel


def step_in_order(prepared: Prepared, hardware: Hardware) -> None:
    """Run the session over a function that takes a spinlock, on a given machine."""
    kernel = prepared.built[0].kernel
    assert isinstance(kernel, Kernel)
    script = session.load(ROOT / "tests/sessions")["step-in-order"]
    with QemuMachine(
        kernel, prepared.initramfs.path, hardware, prepared.toolchain, prepared.accel
    ) as machine:
        target = Target(machine, Symbols.load(kernel.system_map))
        machine.boot()
        script.run(target, "set_fs_pwd")


def test_an_exclusive_pair_is_a_livelock(prepared: Prepared) -> None:
    """A Cortex-A57 has no LSE atomics, so the lock is taken with LDAXR and STXR."""
    with pytest.raises(KernelFault, match="exclusive load/store pair") as caught:
        step_in_order(prepared, Hardware(cpu="cortex-a57"))
    assert caught.value.signature is Signature.LIVELOCK


def test_the_same_kernel_gets_on_with_lse_atomics(prepared: Prepared) -> None:
    """Only the processor differs."""
    step_in_order(prepared, Hardware())
