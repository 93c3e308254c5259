# SPDX-License-Identifier: GPL-2.0-only
"""A network for namespaces of this machine: packets are late, and some are lost.

    hub.py NAMESPACE...

Makes a TUN device in each namespace, with the address 10.117.0.N/24 (N from 1), and passes packets
between them. Standard input sets what happens to those to and from one: ``N DELAY LOSS``, in
seconds and from 0 to 1; a loss of 1 cuts it off. It answers each line, and ends with its input.
(The kernel's own, tc's netem, is a module that not every host has.)
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # include/uapi/linux/if_tun.h
SUBNET = "10.117.0"
LARGEST = 1 << 16


def device(number: int, namespace: str) -> int:
    """Make a namespace's device; returns what its packets are read from."""
    name = f"kstep{os.getpid() % 10000}n{number}"
    opened = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    request = struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI)
    fcntl.ioctl(opened, TUNSETIFF, request)
    inside = ["ip", "netns", "exec", namespace, "ip"]
    for argv in (
        ["ip", "link", "set", name, "netns", namespace],
        [*inside, "addr", "add", f"{SUBNET}.{number}/24", "dev", name],
        [*inside, "link", "set", name, "up"],
        [*inside, "link", "set", "lo", "up"],
    ):
        subprocess.run(argv, check=True)
    return opened


def main() -> None:
    """Pass packets until standard input ends."""
    ends = {n: device(n, name) for n, name in enumerate(sys.argv[1:], 1)}
    numbers = {opened: n for n, opened in ends.items()}
    faults = dict.fromkeys(ends, (0.0, 0.0))
    late: list[tuple[float, int, int, bytes]] = []
    order = itertools.count()
    print("ready", flush=True)  # noqa: T201 -- the answer
    while True:
        wait = max(0.0, late[0][0] - time.monotonic()) if late else None
        readable, _, _ = select.select([0, *numbers], [], [], wait)
        for opened in readable:
            if opened == 0:
                line = os.read(0, 4096)
                if not line:
                    return
                for words in map(bytes.split, line.splitlines()):
                    faults[int(words[0])] = float(words[1]), float(words[2])
                    print("set", flush=True)  # noqa: T201 -- the answer
                continue
            packet = os.read(opened, LARGEST)
            target = packet[19] if len(packet) > 19 and packet[0] >> 4 == 4 else 0
            if target not in ends:
                continue
            (delay, loss), (more, worse) = faults[numbers[opened]], faults[target]
            if random.random() < 1 - (1 - loss) * (1 - worse):  # noqa: S311 -- no secret
                continue
            heapq.heappush(late, (time.monotonic() + delay + more, next(order), target, packet))
        while late and late[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(late)
            try:
                os.write(ends[target], packet)
            except OSError:
                continue  # its queue is full: one more that is lost


if __name__ == "__main__":
    main()
