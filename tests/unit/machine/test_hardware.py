# SPDX-License-Identifier: GPL-2.0-only
"""What the hardware that a session or a user asks for takes of a machine."""

from __future__ import annotations

import pytest

from kstep.base.errors import RequestError
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
            Hardware(dilation=8),
            {Capability.DILATION: "it needs a guest's clock slowed 8 times"},
        ),
        (Hardware(dilation=8, dilation_required=False), {}),
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


def test_what_is_not_asked_for_is_as_for_a_session() -> None:
    assert Hardware.of(1, "", "") == Hardware()


def test_a_boot_that_waits_for_a_debugger_is_known_by_its_parameters() -> None:
    found = Hardware.of(2, "cortex-a57", " kgdbwait  loglevel=4")
    assert found == Hardware(cpus=2, cpu="cortex-a57", parameters="kgdbwait loglevel=4", waits=True)
    assert not Hardware.of(1, "", "kgdbwaits=1").waits


@pytest.mark.parametrize(
    ("cpus", "cpu", "parameters", "message"),
    [
        (0, "", "", "--cpus 0: must be 1 to 8"),
        (9, "", "", "--cpus 9: must be 1 to 8"),
        (1, "cortex-a67", "", '--cpu "cortex-a67": is not a model of QEMU\'s; did you mean'),
        (1, "a76,pmu=off", "", "is not a model of QEMU's"),
        (1, "", "a\nb", "--parameters 'a\\nb': give one line"),
    ],
)
def test_what_no_machine_has_is_refused(cpus: int, cpu: str, parameters: str, message: str) -> None:
    with pytest.raises(RequestError) as raised:
        Hardware.of(cpus, cpu, parameters)
    assert message in str(raised.value)
