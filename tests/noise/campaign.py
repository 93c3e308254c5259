# SPDX-License-Identifier: GPL-2.0-only
"""Runs cells over a noisy line and counts what came of them.

    python -m tests.noise.campaign --variant v6/1+2 --repeat 3 --to lose=1/3000 --seed 7

A verdict is false if it is not the one that the clean line gives: what is expected of the cell.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.command import ROOT, verify
from tests.noise.machine import external
from tests.noise.noise import Noise
from tests.noise.relay import NoisyRelay


@dataclass
class Tally:
    """What cells came to; ``false`` and ``lost`` say which, and how."""

    cells: int = 0
    faults: int = 0
    seconds: float = 0.0
    false: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdicts = self.cells - len(self.lost)
        return (
            f"{self.cells} cells, {self.faults} faults of the line: {verdicts} verdicts,"
            f" {len(self.false)} false, {len(self.lost)} none; {self.seconds:.0f} s"
        )


def run(
    boot: Path,
    scratch: Path,
    variant: str,
    sessions: str,
    noise: tuple[Noise, Noise],
    *,
    seed: int = 0,
    repeat: int = 1,
) -> Tally:
    """Run sessions of a variant over a line with noise to and from the guest."""
    with (
        external(boot, scratch) as machine,
        NoisyRelay(("127.0.0.1", machine.port), *noise, seed) as relay,
    ):
        done = verify(
            scratch / f"verify-{seed}",
            f"--series={variant.partition('/')[0] if '/' in variant else 'v6'}",
            f"--variants={variant}",
            f"--sessions={sessions}",
            f"--repeat={repeat}",
            f"--machine=tcp:127.0.0.1:{relay.port}",
            f"--reset={machine.reset}",
        )
        tally = Tally(faults=relay.faults)
    for cell in done.cells(variant):
        tally.cells += 1
        tally.seconds += cell["seconds"]
        name = f"{variant} {cell['session']}[{cell['case'] or ''}] #{cell['repeat']}"
        came = f"{cell['outcome']} {cell['signature'] or ''}: {cell['message']}"
        if cell["outcome"] == "error":
            tally.lost.append(f"{name}: {came}")
        elif not cell["matched"]:
            tally.false.append(f"{name}: {came}")
    return tally


def options(what: str | None, sessions: str) -> argparse.ArgumentParser:
    """Make the options of a campaign, which is described by ``what``."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--variant", default="v6/1+2")
    parser.add_argument("--sessions", default=sessions)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Noise.parse, default=Noise(), metavar="NOISE")
    parser.add_argument("--from", dest="back", type=Noise.parse, default=Noise(), metavar="NOISE")
    parser.add_argument("--scratch", type=Path)
    return parser


def main() -> int:
    """Run what is asked for; the status is 1 if a verdict was false."""
    asked = options(__doc__, "step-in-order,continue-past-breakpoint").parse_args()
    scratch = asked.scratch or Path(tempfile.mkdtemp(prefix="kstep-noise-"))
    scratch.mkdir(parents=True, exist_ok=True)
    boot = scratch / f"boot-{asked.variant.replace('/', '_')}"
    if not boot.exists():
        command = [str(ROOT / "inv"), "guest", f"--variant={asked.variant}", f"--out={boot}"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    tally = run(
        boot,
        scratch,
        asked.variant,
        asked.sessions,
        (asked.to, asked.back),
        seed=asked.seed,
        repeat=asked.repeat,
    )
    print(tally)  # noqa: T201 -- a command
    for kind, cells in (("FALSE", tally.false), ("none", tally.lost)):
        for cell in cells:
            print(f"{kind}: {cell}")  # noqa: T201
    causes = Counter(cell.rpartition(": ")[2][:60] for cell in tally.lost)
    print(causes, file=sys.stderr)  # noqa: T201
    return bool(tally.false)


if __name__ == "__main__":
    sys.exit(main())
