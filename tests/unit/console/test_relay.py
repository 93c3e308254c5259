# SPDX-License-Identifier: GPL-2.0-only
"""The relay: what is gdb's goes to gdb and the rest to the console, however the line cuts it."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import threading
import time
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstep.base.deadline import Deadline
from kstep.base.errors import MachineryError
from kstep.base.outcome import Signature
from kstep.console.console import Console
from kstep.console.relay import BEGUN_BY_KGDB, Relay, Sieve, Traffic, packet

if TYPE_CHECKING:
    from collections.abc import Iterator

BODIES = st.text("0123456789abcdefTSOK:;,-+", max_size=12).map(str.encode)
TEXTS = st.text("ab \r\n+-01$?\"'", min_size=1, max_size=12).map(lambda text: f"{text}\n".encode())
SPOKEN = st.lists(BODIES.map(packet) | TEXTS, max_size=8)


def read(fd: int, size: int) -> bytes:
    """Read exactly so much."""
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


@given(SPOKEN, st.lists(st.integers(1, 9), min_size=1))
def test_packets_are_found_whole_and_nothing_is_lost(pieces: list[bytes], sizes: list[int]) -> None:
    said = b"".join(pieces)
    sieve = Sieve(BEGUN_BY_KGDB)
    found: list[tuple[bool, bytes]] = []
    at = 0
    while at < len(said):
        size = sizes[at % len(sizes)]
        found += sieve.pieces(said[at : at + size])
        at += size
    assert b"".join(piece for _, piece in found) + sieve.rest == said
    packets = [piece for is_packet, piece in found if is_packet]
    assert packets == [piece for piece in pieces if piece.startswith(b"$") and piece[-1:] != b"\n"]


def test_a_packet_whose_sum_is_wrong_is_none() -> None:
    assert Sieve().pieces(b"$OK#00.") == [(False, b"$OK#00.")]


def test_binary_data_of_gdbs_may_hold_line_ends() -> None:
    whole = packet(b"Xffff800008145f8c,2:\r\n")
    assert Sieve().pieces(whole) == [(True, whole)]


def test_a_conversation_and_what_the_guest_says_meanwhile() -> None:
    traffic = Traffic()
    states = [traffic.running]
    traffic.from_gdb(packet(b"m0,4"))
    assert traffic.from_kernel(b"+" + packet(b"00000000")) == (b"+" + packet(b"00000000"), b"")
    states.append(traffic.running)
    traffic.from_gdb(b"+" + packet(b"c"))
    states.append(traffic.running)
    # The shell's echo has what looks like a packet's beginning, and a sign that is no mark.
    assert traffic.from_kernel(b'++ cd; echo KSTEP"-END" 5 $?\r\n') == (
        b"+",
        b'+ cd; echo KSTEP"-END" 5 $?\r\n',
    )
    states.append(traffic.running)
    assert traffic.from_kernel(packet(b"T05thread:17;")) == (packet(b"T05thread:17;"), b"")
    states.append(traffic.running)
    assert states == [False, False, True, True, False]
    assert not traffic.fault


@pytest.mark.parametrize("side", ["gdb", "kgdb"])
def test_a_packet_that_must_be_said_again_is_a_fault(side: str) -> None:
    traffic = Traffic()
    traffic.from_gdb(packet(b"g"))
    if side == "gdb":
        traffic.from_gdb(b"-")
    else:
        traffic.from_kernel(b"-")
    assert traffic.fault.startswith(side)


STOP = packet(b"T05thread:01;")


def damaged(data: bytes) -> Iterator[bytes]:
    """Give every text that differs by one byte: lost, doubled, or changed to any other."""
    for at in range(len(data)):
        yield data[:at] + data[at + 1 :]
        yield data[: at + 1] + data[at:]
        for other in range(256):
            if other != data[at]:
                yield data[:at] + bytes([other]) + data[at + 1 :]


@pytest.mark.parametrize("after", [b"", b"\r\n[   12.3] a message\r\n"])
def test_a_stop_that_gdb_does_not_see_is_doubted(after: bytes) -> None:
    """Or the kernel would be blamed for running on, by one byte of the line."""
    unseen = 0
    for said in damaged(b"+" + STOP):
        traffic = Traffic()
        traffic.from_gdb(packet(b"c"))
        gdb, _ = traffic.from_kernel(said + after)
        if STOP not in gdb:
            assert traffic.doubt, said
            unseen += 1
    assert unseen > len(STOP) * 250


def hears(data: bytes) -> bytes:
    """Answer as kgdb does (get_packet() in kernel/debug/gdbstub.c), and never run."""
    found = re.search(rb"\$([^#]*)#(..)", data)
    if found is None:
        return b""
    return b"+" if found[0] == packet(found[1]) else b"-"


def test_a_resume_that_kgdb_does_not_take_is_doubted() -> None:
    for arrived in damaged(packet(b"c")):
        traffic = Traffic()
        traffic.from_gdb(packet(b"c"))
        answer = hears(arrived)
        traffic.from_kernel(answer)
        if answer != b"+":
            assert traffic.doubt, arrived


def test_what_a_shell_echoes_is_no_doubt() -> None:
    """Nor a silence after it: a kernel that does not stop is to blame."""
    traffic = Traffic()
    traffic.from_gdb(packet(b"c"))
    traffic.from_kernel(b'+cd /tmp; echo KSTEP"-END" 5 $?\r\n/ # [ 7.1] # 5 of $10\r\n')
    assert not traffic.doubt


@contextmanager
def relayed() -> Iterator[tuple[int, int, Console, Relay, list[str]]]:
    """Return the kernel's end of a line, gdb's end of the relay, the console, and the break."""
    serial, kernel = pty.openpty()
    tty.setraw(kernel)
    console = Console(serial, lambda: None)
    breaks: list[str] = []
    with Relay(serial, console, lambda: breaks.append("break")) as relay:
        gdb = os.open(relay.pty, os.O_RDWR | os.O_NOCTTY)
        yield kernel, gdb, console, relay, breaks
        os.close(gdb)
    os.close(kernel)
    os.close(serial)


def test_both_are_served_on_one_line() -> None:
    with relayed() as (kernel, gdb, console, relay, breaks):
        asked, answer = packet(b"?"), b"+" + packet(b"S05")
        os.write(gdb, asked)
        assert read(kernel, len(asked)) == asked
        os.write(kernel, answer)
        assert read(gdb, len(answer)) == answer
        os.write(gdb, packet(b"c"))
        assert read(kernel, 5) == packet(b"c")
        console.send(b"cd /tmp\n")
        assert read(kernel, 8) == b"cd /tmp\n"
        os.write(kernel, b"+cd /tmp\r\n" + packet(b"T05thread:01;"))
        found = console.expect(re.compile(rb"cd /tmp\r\n"), "echo", Deadline.after(5))
        assert found.string == b"cd /tmp\r\n"
        assert read(gdb, 18) == b"+" + packet(b"T05thread:01;")
        relay.require_sound()
        assert not breaks


def test_ctrl_c_breaks_in_only_where_the_kernel_runs() -> None:
    with relayed() as (kernel, gdb, _, _relay, breaks):
        os.write(gdb, packet(b"c"))
        assert read(kernel, 5) == packet(b"c")
        os.write(gdb, b"\x03")
        os.write(gdb, packet(b"g"))
        assert read(kernel, 5) == packet(b"g")
        assert breaks == ["break"]


def test_the_console_has_all_that_was_said_meanwhile() -> None:
    serial, kernel = pty.openpty()
    tty.setraw(kernel)
    console = Console(serial, lambda: None)
    with Relay(serial, console):
        os.write(kernel, b"between\r\n")
        wait_for_reader(serial)
    os.write(kernel, b"after\r\n")
    console.expect(re.compile(rb"^between\r\nafter\r\n"), "text", Deadline.after(5))
    os.close(kernel)
    os.close(serial)


@pytest.mark.parametrize("fails", [False, True])
def test_much_that_nobody_has_read_does_not_hold_up_the_end(*, fails: bool) -> None:
    """A kernel that floods the line fills what is between the relay and the console."""
    serial, kernel = pty.openpty()
    tty.setraw(kernel)
    console = Console(serial, lambda: None)
    said = b"".join(b"%06d\r\n" % number for number in range(200_000))
    flood = threading.Thread(target=write, args=(kernel, said + b"end"), daemon=True)
    with suppress(ZeroDivisionError), Relay(serial, console) as relay:
        flood.start()
        before, heard = -1, 0
        while not heard or heard != before:  # until no more goes through
            time.sleep(0.1)
            before, heard = heard, len(console_text(relay))
        if fails:
            raise ZeroDivisionError
    if not fails:
        assert (
            console.expect(re.compile(rb"end"), "end", Deadline.after(20)).string == said + b"end"
        )
        flood.join()
        os.close(kernel)
        os.close(serial)


def console_text(relay: Relay) -> bytes:
    """Look at what the relay has passed on to the console, and leave it there."""
    with suppress(BlockingIOError):
        return relay._ours.recv(1 << 22, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return b""


def write(fd: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(fd, data) :]


def wait_for_reader(fd: int) -> None:
    """Wait until somebody has read all that there is."""
    deadline = Deadline.after(5)
    while select.select([fd], [], [], 0)[0] and deadline.left:
        time.sleep(0.001)


def test_a_line_that_breaks_is_the_machinerys_fault() -> None:
    serial, kernel = pty.openpty()
    tty.setraw(kernel)
    console = Console(serial, lambda: None)
    with Relay(serial, console) as relay:
        os.close(kernel)  # reading the other end of a pty without a slave gives EIO
        with pytest.raises(MachineryError) as caught:
            console.expect(re.compile(rb"never"), "word", Deadline.after(5))
        assert caught.value.signature is Signature.CONSOLE_LOST
        with pytest.raises(MachineryError, match="the relay to gdb ended"):
            relay.require_sound()
    os.close(serial)
