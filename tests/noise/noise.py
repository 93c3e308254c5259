# SPDX-License-Identifier: GPL-2.0-only
"""A serial line that lies: bytes of a stream are lost, doubled or changed, alone or in bursts."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field, replace

from kstep.base.errors import RequestError

KINDS = ("lose", "double", "change")


@dataclass
class Noise:
    """What happens to the bytes of one direction; each rate is the share of bytes that it meets.

    ``burst`` is how many bytes in a row a fault meets, at the most. ``delay`` is what is waited
    before each piece that is passed on, in seconds. ``faults`` counts what was done.
    """

    lose: float = 0.0
    double: float = 0.0
    change: float = 0.0
    burst: int = 1
    delay: float = 0.0
    seed: int = 0
    faults: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 -- it is to be repeatable
        self._gap = self._next()

    @classmethod
    def parse(cls, spec: str) -> Noise:
        """Read ``lose=1/3000,burst=4``; RequestError for all else."""
        found: dict[str, float] = {}
        for part in filter(None, spec.split(",")):
            name, _, value = part.partition("=")
            try:
                above, _, below = value.partition("/")
                found[name] = float(above) / float(below or 1)
            except (ValueError, ZeroDivisionError):
                raise RequestError(f"{part}: must be NAME=NUMBER or NAME=1/NUMBER") from None
        if unknown := found.keys() - {*KINDS, "burst", "delay"}:
            raise RequestError(f"{', '.join(unknown)}: must be {', '.join(KINDS)}, burst or delay")
        return cls(**{**found, "burst": int(found.get("burst", 1))})  # type: ignore[arg-type]

    def seeded(self, seed: int) -> Noise:
        """Return the same noise from another seed."""
        return replace(self, seed=seed)

    def through(self, data: bytes) -> bytes:
        """Pass bytes on as the line does."""
        said = b""
        while self._gap < len(data):
            said += data[: self._gap]
            data = data[self._gap :]
            burst = self._random.randint(1, self.burst)
            said += self._fault(data[:burst])
            data = data[burst:]  # of a piece that ends sooner the burst does too
            self._gap = self._next()
        self._gap -= len(data)
        return said + data

    def _next(self) -> int:
        """Return how many bytes come before the next fault."""
        rate = self.lose + self.double + self.change
        return int(self._random.expovariate(rate)) if rate else sys.maxsize

    def _fault(self, data: bytes) -> bytes:
        self.faults += 1
        (kind,) = self._random.choices(KINDS, (self.lose, self.double, self.change))
        if kind == "lose":
            return b""
        if kind == "double":
            return b"".join(data[n : n + 1] * 2 for n in range(len(data)))
        return bytes(byte ^ self._random.randint(1, 255) for byte in data)
