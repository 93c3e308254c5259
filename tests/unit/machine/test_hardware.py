# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a user asks for by hand."""

from __future__ import annotations

import pytest

from kstep.base.errors import RequestError
from kstep.machine.hardware import Hardware


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
