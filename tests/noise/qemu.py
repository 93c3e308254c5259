# SPDX-License-Identifier: GPL-2.0-only
"""kstep's own QEMU with a serial line that lies, for sessions that an external machine cannot run.

    python -m tests.noise.qemu --sessions gdb-smoke,gdb-step-in-order --to lose=1/3000

gdb's sessions read memory while gdb has the line, which only QEMU's monitor can. So the noise is
put between QEMU's pty and kstep's, and the line is not trusted, as an external machine's is not.
A verdict is false if it is not the one that is expected of the cell.
"""

from __future__ import annotations

import os
import pty
import select
import sys
import tempfile
import threading
import tty
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kstep.base.cache import Cache
from kstep.base.outcome import Outcome
from kstep.base.progress import Progress
from kstep.base.pty import Pty
from kstep.machine import qemu
from kstep.run import preparation, request, runner
from kstep.run.boot import Boot
from kstep.toolchain import interface
from tests.integration.command import ROOT
from tests.noise import campaign

if TYPE_CHECKING:
    from contextlib import ExitStack

    from kstep.run.boot import Result
    from tests.noise.noise import Noise

CHUNK = 1 << 16


class NoisyPty:
    """Opens ptys whose bytes pass noise, each way, in the place of the class Pty."""

    def __init__(self, to_guest: Noise, from_guest: Noise) -> None:
        self._to_guest, self._from_guest = to_guest, from_guest

    @property
    def faults(self) -> int:
        """How many bytes have been lost, changed and so on."""
        return self._to_guest.faults + self._from_guest.faults

    def open(self, stack: ExitStack) -> Pty:
        """Return kstep's end, and the name of QEMU's."""
        outer, far = Pty.open(stack), pty.openpty()
        tty.setraw(far[1])
        wake = os.pipe()
        thread = threading.Thread(
            target=self._carry, args=(outer.near, far[1], wake[0]), daemon=True
        )
        thread.start()

        def end() -> None:
            os.close(wake[1])
            thread.join()
            for descriptor in (*far, wake[0]):
                os.close(descriptor)

        stack.callback(end)
        return Pty(far[0], outer.far, outer.path)

    def _carry(self, qemu_end: int, our_end: int, wake: int) -> None:
        ways = {our_end: (qemu_end, self._to_guest), qemu_end: (our_end, self._from_guest)}
        while True:
            ready = select.select([*ways, wake], [], [])[0]
            if wake in ready:
                return
            for end in ready:
                other, noise = ways[end]
                data = noise.through(os.read(end, CHUNK))
                while data:
                    data = data[os.write(other, data) :]


class NoisyQemu(qemu.QemuMachine):
    """A QEMU whose line is known to lie."""

    def __enter__(self) -> Self:
        super().__enter__()
        self.console.trusted = False
        return self


def run(
    line: NoisyPty, variant: str, sessions: list[str], repeats: int, folder: Path
) -> list[tuple[Result, bool]]:
    """Run cells, each on a machine of its own; with each result, whether it is as expected."""
    asked = request.look_up(
        ROOT,
        series_specs=[variant.partition("/")[0] if "/" in variant else "v6"],
        tree_specs=["debian:6.1"],
        variant_names=[variant],
        session_names=sessions,
        repeats=repeats,
    )
    with Progress() as progress:
        prepared = preparation.prepare(asked, "host", Cache.default(), progress, "tcg")
    (built,) = prepared.built
    vars(interface)["Pty"] = line
    vars(runner)["QemuMachine"] = NoisyQemu
    found = []
    for cell in asked.cells:
        boot = Boot(
            (cell,),
            built.require(),
            prepared.initramfs.path,
            ROOT / "tests/sessions",
            prepared.accel,
            tried=frozenset({cell}),  # what one try comes to is counted
        )
        for result in runner.run(boot, prepared.toolchain, folder):
            expected = asked.expectations.of(cell, prepared.trees[0].version)
            wanted = (
                (Outcome.PASS, None) if expected is None else (expected.outcome, expected.signature)
            )
            matched = result.outcome is wanted[0] and wanted[1] in {None, result.signature}
            found.append((result, matched))
    return found


def main() -> int:
    """Run what is asked for; the status is 1 if a verdict was false."""
    asked = campaign.options(__doc__, "gdb-smoke,gdb-step-in-order").parse_args()
    line = NoisyPty(asked.to.seeded(2 * asked.seed), asked.back.seeded(2 * asked.seed + 1))
    folder = asked.scratch or Path(tempfile.mkdtemp(prefix="kstep-noise-"))
    folder.mkdir(parents=True, exist_ok=True)
    results = run(line, asked.variant, asked.sessions.split(","), asked.repeat, folder)
    false = 0
    for result, matched in results:
        wrong = result.outcome is not Outcome.ERROR and not matched
        false += wrong
        word = "FALSE" if wrong else result.outcome
        message = result.message.partition("\n")[0][:150]
        print(word, result.cell.name, result.signature or "", message, flush=True)  # noqa: T201 -- a command
    print(Counter(str(result.signature or result.outcome) for result, _ in results))  # noqa: T201
    print(f"{line.faults} faults of the line, {false} false")  # noqa: T201
    return bool(false)


if __name__ == "__main__":
    sys.exit(main())
