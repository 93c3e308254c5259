# SPDX-License-Identifier: GPL-2.0-only
"""What the hardware that a session asks for takes of a machine."""

from __future__ import annotations

import pytest

from kstep.machine.capability import Capability
from kstep.machine.hardware import Hardware


@pytest.mark.parametrize(
    ("hardware", "requires"),
    [
        (Hardware(), {}),
        (Hardware(cpus=1, cpu="cortex-a76"), {}),
        (Hardware(cpus=4), {Capability.PROCESSORS: "it needs 4 CPUs"}),
        (Hardware(cpu="cortex-a57"), {Capability.CPU_MODEL: "it needs a cortex-a57"}),
        (Hardware(el2=True), {Capability.EL2: "it needs a kernel at EL2"}),
        (
            Hardware(parameters="kgdbwait", waits=True),
            {Capability.PARAMETERS: "it sets the kernel's command line: kgdbwait"},
        ),
        (
            Hardware(kgdboc=False),
            {Capability.PARAMETERS: "it sets the kernel's command line: no kgdboc="},
        ),
    ],
)
def test_what_is_other_than_usual_is_required(
    hardware: Hardware, requires: dict[Capability, str]
) -> None:
    assert hardware.requires == requires


@pytest.mark.parametrize(
    ("had", "wanted", "serves"),
    [
        (Hardware(), Hardware(), True),
        (Hardware(cpus=2), Hardware(cpus=2), True),
        (Hardware(), Hardware(cpus=2), False),
        (Hardware(), Hardware(waits=True), False),
        # Its boot has been continued, and does not wait again.
        (Hardware(waits=True), Hardware(waits=True), False),
    ],
)
def test_a_machine_serves_the_next_cell_that_wants_the_same_unless_its_boot_waits(
    had: Hardware, wanted: Hardware, *, serves: bool
) -> None:
    assert had.can_serve_next(wanted) == serves
