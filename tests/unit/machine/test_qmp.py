# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU writes and says, as it was seen of 7.2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.machine.qmp import EXECUTED, Monitor

if TYPE_CHECKING:
    from pathlib import Path

LOG = b"""\
Trace 0: 0x7f118511c3c0 [0000000000005001/ffff80000823036c/00000021/ff000200]\x20
Stopped execution of TB chain before 0x7f118511c640 [ffff800008010a80]\x20
Trace 1: 0x7f118511c500 [0000000000005001/0000ffff9a3036c4/00000021/ff000200] name
"""


def test_the_log_of_executed_code() -> None:
    assert [match["pc"] for match in EXECUTED.finditer(LOG)] == [
        b"ffff80000823036c",
        b"0000ffff9a3036c4",
    ]


def test_a_machine_that_is_gone_has_died(tmp_path: Path) -> None:
    with Monitor(tmp_path / "none", tmp_path) as monitor, pytest.raises(MachineryError) as error:
        monitor.send_break()
    assert error.value.signature is Signature.MACHINE_DIED
