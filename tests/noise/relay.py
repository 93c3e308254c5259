# SPDX-License-Identifier: GPL-2.0-only
"""A relay between kstep and the serial line of a machine, with noise either way.

    python -m tests.noise.relay LISTEN HOST:PORT --to lose=1/3000 --from change=1/300,burst=3

Each connection has noise of its own, from the seed and the connection's number.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.noise.noise import Noise

if TYPE_CHECKING:
    from types import TracebackType

CHUNK = 1 << 16
THERE = 20.0  # seconds for the machine's line to be there


@dataclass
class Connection:
    """One use of the line, and what it did to it."""

    number: int
    to_guest: Noise
    from_guest: Noise


class NoisyRelay(AbstractContextManager["NoisyRelay"]):
    """Listens at ``port`` of this host, 0 for any, and connects to ``host`` each time."""

    def __init__(
        self,
        host: tuple[str, int],
        to_guest: Noise,
        from_guest: Noise,
        seed: int = 0,
        port: int = 0,
    ) -> None:
        self._host = host
        self._noise = (to_guest, from_guest)
        self._seed = seed
        self._server = socket.create_server(("127.0.0.1", port))
        self.port: int = self._server.getsockname()[1]
        self.connections: list[Connection] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()

    @property
    def faults(self) -> int:
        """How often the line lied so far."""
        return sum(c.to_guest.faults + c.from_guest.faults for c in self.connections)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                near, _ = self._server.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        number = len(self.connections)
        to_guest, from_guest = (
            each.seeded(hash((self._seed, number, way))) for way, each in enumerate(self._noise)
        )
        self.connections.append(Connection(number, to_guest, from_guest))
        with near, contextlib.suppress(OSError), self._far() as far:
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ways = {near: (far, to_guest), far: (near, from_guest)}
            while True:
                for end in select.select([near, far], [], [])[0]:
                    if not (data := end.recv(CHUNK)):
                        return
                    other, noise = ways[end]
                    if noise.delay:
                        time.sleep(noise.delay)
                    other.sendall(noise.through(data))

    def _far(self) -> socket.socket:
        deadline = time.monotonic() + THERE
        while True:
            try:
                return socket.create_connection(self._host)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def main() -> None:
    """Relay until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("listen", type=int)
    parser.add_argument("host")
    parser.add_argument("--to", type=Noise.parse, default=Noise(), metavar="NOISE")
    parser.add_argument("--from", dest="back", type=Noise.parse, default=Noise(), metavar="NOISE")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    host, _, port = asked.host.rpartition(":")
    with (
        contextlib.suppress(KeyboardInterrupt),
        NoisyRelay((host, int(port)), asked.to, asked.back, asked.seed, asked.listen),
    ):
        threading.Event().wait()


if __name__ == "__main__":
    main()
