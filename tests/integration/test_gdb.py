# SPDX-License-Identifier: GPL-2.0-only
"""A failing gdb is not a verdict on a kernel, and leaves no process."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.build.kernel import Kernel
from kstep.console import gdb as gdbs
from kstep.image.symbols import Symbols
from kstep.machine.hardware import Hardware
from kstep.machine.qemu import QemuMachine
from kstep.session.target import Target
from tests.integration.command import Verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kstep.console.gdb import Gdb
    from kstep.console.relay import Relay
    from kstep.run.preparation import Prepared

pytestmark = pytest.mark.kernel


class Enough(Exception):  # noqa: N818 -- not an error: what was broken need not return to kdb
    """A test has seen what it tests."""


@contextmanager
def connected(prepared: Prepared) -> Iterator[tuple[Gdb, Relay]]:
    """Boot a kernel, and have a gdb on its serial line."""
    kernel = prepared.built[0].kernel
    assert isinstance(kernel, Kernel)
    with QemuMachine(
        kernel, prepared.initramfs.path, Hardware(), prepared.toolchain, prepared.accel
    ) as machine:
        target = Target(machine, Symbols.load(kernel.system_map))
        machine.boot()
        with (
            suppress(Enough),
            target.in_kdb(),
            target.gdb_access.line_for_gdb() as relay,
            target.gdb_access.gdb_at(relay) as gdb,
        ):
            gdb.connect(prepared.toolchain.inside(relay.pty))
            yield gdb, relay
            raise Enough


def test_a_gdb_that_is_killed(prepared: Prepared) -> None:
    with connected(prepared) as (gdb, _):
        gdb._process.kill()
        with pytest.raises(MachineryError, match="gdb ended"):
            gdb.registers()


def test_a_kernel_that_falls_silent(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped kernel must answer; if it does not, that says nothing about stepping."""
    with connected(prepared) as (gdb, relay):
        place = gdb.value("&linux_banner")
        monkeypatch.setattr(gdbs, "ANSWER", 2.0)
        monkeypatch.setattr(relay._traffic, "from_kernel", lambda _data: (b"", b""))
        with pytest.raises(MachineryError, match="gdb: no answer"):
            gdb.read(place, 64)


def test_a_line_out_of_step(prepared: Prepared) -> None:
    """Something else writes on gdb's side of the line."""
    with connected(prepared) as (gdb, relay):
        place = gdb.value("&linux_banner")
        line = os.open(relay.pty, os.O_RDWR | os.O_NOCTTY)
        os.write(line, b"$g#00")
        os.close(line)
        with pytest.raises(MachineryError, match="gdb and kgdb are out of step") as caught:
            gdb.read(place, 64)
    assert caught.value.signature is Signature.CONSOLE_LOST


def test_cut_off_while_gdb_is_there(tmp_path: Path) -> None:
    with Verify(tmp_path, "--variants=v6/1+2", "--sessions=gdb-step-in-order") as going:
        going.until(lambda: list(going.folder.rglob("gdb.log")), "gdb that is told something")
        going.end_by(signal.SIGINT, group=True)
        assert going.wait().status == 130
        assert going.left_behind() == []
