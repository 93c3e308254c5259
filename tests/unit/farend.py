# SPDX-License-Identifier: GPL-2.0-only
"""The far end of a serial line, for tests: a kernel that is recorded, or made up.

It stands behind a real pty, and nothing above the console can tell that there is no
machine. A kernel hears what is typed and says what it would print.
"""

from __future__ import annotations

import ast
import itertools
import os
import pty
import re
import socket
import textwrap
import threading
import tty
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from kstep.console.console import Console
from kstep.image.symbols import Symbols
from kstep.machine.capability import Capability, Offer
from kstep.machine.hardware import Hardware
from kstep.machine.interface import Machine, UnmappedError
from kstep.session.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from io import StringIO

    from kstep.results.transcript import Transcript

RECORDINGS = Path(__file__).with_name("recordings")
TASK = 0xFFFF000000A11800
TRAMPOLINE = 0xFFFF800008010000
TYPED = re.compile(r'(?P<command>.*); echo KSTEP"-END" (?P<number>\d+) \$\?')


class Kernel(Protocol):
    """What a far end plays."""

    def hear(self, typed: bytes) -> bytes:
        """Take what was typed since the last call, and return what is printed."""


def whole(said: bytes) -> list[bytes]:
    """Send everything in one piece."""
    return [said]


def byte_by_byte(said: bytes) -> list[bytes]:
    """Send everything as slowly cut as can be."""
    return [said[n : n + 1] for n in range(len(said))]


def pieces(sizes: Sequence[int]) -> Callable[[bytes], list[bytes]]:
    """Cut what is said into pieces of these sizes, over and over."""

    def cut(said: bytes) -> list[bytes]:
        found: list[bytes] = []
        at = 0
        for size in itertools.cycle(sizes):
            if at >= len(said):
                return found
            found.append(said[at : at + size])
            at += size
        return [said]

    return cut


@contextmanager
def line_to(
    kernel: Kernel,
    cut: Callable[[bytes], Iterable[bytes]] = whole,
    *,
    packets: bool = False,
) -> Iterator[Console]:
    """Return the console of a line at whose other end ``kernel`` is, on a thread.

    The line is a pty, which joins pieces as it likes; or ``packets``, where each piece of
    ``cut`` is one read. What goes wrong at the far end is raised when the block is left.
    """
    if packets:
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near, far = (end.detach() for end in ends)
    else:
        near, far = pty.openpty()
        tty.setraw(far)
    faults: list[BaseException] = []

    def play() -> None:
        try:
            typed = b""
            while True:
                for piece in cut(kernel.hear(typed)):
                    os.write(far, piece)
                if not (typed := os.read(far, 4096)):
                    return
        except OSError:  # the near end is closed
            return
        except BaseException as fault:  # noqa: BLE001 -- raised below
            faults.append(fault)
        finally:
            os.close(far)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield Console(near, lambda: _raise(faults))
    finally:
        os.close(near)
        thread.join()
        _raise(faults)


def _raise(faults: list[BaseException]) -> None:
    if faults:
        raise faults[0]


def _symbols(by_name: Mapping[str, int]) -> Symbols:
    names = sorted(by_name, key=by_name.__getitem__)
    return Symbols(tuple(by_name[name] for name in names), tuple(names), by_name)


@contextmanager
def device(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Return the name of a serial device; what is typed there is answered."""
    near, far = pty.openpty()
    tty.setraw(far)

    def play() -> None:
        try:
            while typed := os.read(near, 4096):
                os.write(near, answer(typed))
        except OSError:
            return

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    try:
        yield os.ttyname(far)
    finally:
        os.close(far)
        thread.join(1)
        os.close(near)


class FakeMachine(Machine):
    """A machine with a console and memory, and no QEMU."""

    chunk = 4096

    def __init__(self, console: Console, words: dict[int, int]) -> None:
        self.console = console
        self.words = words
        self.hardware = Hardware()
        self.scale = 1.0

    @property
    def offer(self) -> Offer:
        """It reads memory past the kernel, and can do nothing else."""
        reads = {Capability.MEMORY_PAST_KERNEL, Capability.MEMORY_WITHOUT_KDB}
        return Offer("a machine that is made up", frozenset(reads))

    @property
    def longest_boot(self) -> float:
        """Seconds, of which it needs none."""
        return 5.0

    def boot(self, transcript: Transcript | None = None) -> None:
        """It is up."""
        self.console.transcript = transcript

    def require_alive(self) -> None:
        """It lives as long as the console."""

    def read(self, address: int, size: int) -> bytes:
        """Read words; raises UnmappedError, as QEMU has it, where there is none at all."""
        here = [self.words.get(place) for place in range(address, address + size, 4)]
        if all(word is None for word in here):
            raise UnmappedError(f"QEMU cannot read {size} bytes at {address:#x}: Invalid addr")
        return b"".join((word or 0).to_bytes(4, "little") for word in here)


# -- recorded


@dataclass
class Recording:
    """A conversation that was had with a real kernel, in the form of a transcript.

    Comments name the symbols and the words of memory that it went through. It takes only
    what was typed then.
    """

    turns: deque[tuple[bytes, bytes]]  # typed, said
    symbols: Symbols
    words: dict[int, int]
    first_number: int
    _typed: bytes = b""

    @classmethod
    def load(cls, name: str) -> Recording:
        """Read one of the folder ``recordings``."""
        turns: list[list[bytes]] = []
        symbols, words = {}, {}
        for line in (RECORDINGS / f"{name}.log").read_text("ascii").splitlines():
            match line.split(" ", 2):
                case ["#", "symbol", rest]:
                    address, _, symbol = rest.partition(" ")
                    symbols[int(address, 16)] = symbol
                case ["#", "word", rest]:
                    address, _, word = rest.partition(" ")
                    words[int(address, 16)] = int(word, 16)
                case [_, ">", text]:
                    turns.append([_bytes(text), b""])
                case [_, "<", text]:
                    turns[-1][1] += _bytes(text)
        number = re.search(rb'"-END" (\d+)', turns[0][0])
        assert number is not None
        return cls(
            deque((typed, said) for typed, said in turns),
            _symbols({name: address for address, name in symbols.items()}),
            words,
            int(number[1]),
        )

    def hear(self, typed: bytes) -> bytes:
        """Play on as far as was typed."""
        self._typed += typed
        said = b""
        while self.turns and self._typed.startswith(self.turns[0][0]):
            wanted, answer = self.turns.popleft()
            self._typed = self._typed[len(wanted) :]
            said += answer
        expected = self.turns[0][0] if self.turns else b""
        assert expected.startswith(self._typed), f"typed {self._typed!r}, recorded {expected!r}"
        return said


def _bytes(text: str) -> bytes:
    return str(ast.literal_eval(text)).encode("latin-1")


# -- made up

MORE = "<more>"
Event: TypeAlias = "Callable[[MadeUp], str]"


@dataclass
class MadeUp:
    """A kernel whose events are made up: what comes next when it runs, or is stepped.

    ``runs`` are the events after a trigger or ``go``, one each; when there are none left,
    the command that runs ends well. ``steps`` are those after ``ss``. MORE in any text
    stands for the pager, which waits for a key.
    """

    symbols: dict[str, int] = field(default_factory=dict)
    words: dict[int, int] = field(default_factory=dict)
    runs: list[Event] = field(default_factory=list)
    steps: Iterator[Event] = field(default_factory=lambda: iter(()))
    after_sysrq: Event | None = None  # by itself, the command ends
    answers: dict[str, str] = field(default_factory=dict)  # of kdb, by command
    smp: bool = True
    registers: dict[str, int] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)
    breakpoints: list[int] = field(default_factory=list)
    number: int = 0
    stopped: bool = False
    _input: str = ""
    _pages: list[str] = field(default_factory=list)
    _sysrq: bool = False

    @property
    def names(self) -> Symbols:
        """Its functions."""
        return _symbols(self.symbols)

    def hear(self, typed: bytes) -> bytes:
        """Take what was typed; lines are done one by one."""
        said = ""
        self._input += typed.decode()
        while self._input:
            if self._pages:
                said += self._pages.pop(0) + (self.prompt("more") if self._pages else "")
                self._input = self._input[1:]
                continue
            # kdb of 6.1 takes \\r only; the shell's line ends as the driver ends it
            line, end, rest = self._input.partition("\r" if self.stopped else "\n")
            if not end:
                break
            self._input = rest
            self.typed.append(line)
            answer = f"{line}\n{self._kdb(line) if self.stopped else self._shell(line)}"
            first, *self._pages = answer.split(MORE)
            said += first + (self.prompt("more") if self._pages else "")
        return said.replace("\n", "\r\n").encode()

    def _shell(self, line: str) -> str:
        match = TYPED.fullmatch(line)
        assert match is not None, f"no shell command: {line!r}"
        self.number = int(match["number"])
        self._sysrq = match["command"].startswith("echo g > /proc/sysrq-trigger")
        if self._sysrq:
            return "[    0.317611] sysrq: DEBUG\n" + stop("Keyboard Entry")(self)
        return self._next()

    def _kdb(self, line: str) -> str:
        word, _, rest = line.partition(" ")
        if line in self.answers:
            return self.answers[line] + self.prompt()
        match word:
            case "go":
                self.stopped = False
                if self._sysrq:
                    self._sysrq = False
                    return (self.after_sysrq or end())(self)
                return self._next()
            case "ss":
                self.stopped = False
                following = next(self.steps, None)
                assert following is not None, "more steps than this kernel has"
                return following(self)
            case "rd":
                answer = self._rd()
            case "bp":
                answer = self._bp(rest)
            case "bc":
                answer = f"Breakpoint {rest} at {self.breakpoints[int(rest)]:#x} cleared\n"
            case "set":
                answer = ""
            case _:
                answer = f"Unknown kdb command: '{line}'\n"
        return answer + self.prompt()

    def _next(self) -> str:
        return (self.runs.pop(0) if self.runs else end())(self)

    def prompt(self, kind: str = "kdb") -> str:
        """Prompt, as with or without CONFIG_SMP."""
        return f"[0]{kind}> " if self.smp else f"{kind}> "

    def _rd(self) -> str:
        shown = [f"{n}: {self.registers.get(n, 0):016x}" for n in REGISTERS]
        shown.append(f"pstate: {self.registers.get('pstate', 0):08x}")
        wrapped = textwrap.wrap("  ".join(s.replace(" ", "~") for s in shown), 78)
        return "".join(f"{line.replace('~', ' ')}\n" for line in wrapped)

    def _bp(self, name: str) -> str:
        if name not in self.symbols:
            return "diag: -15: Illegal Numeric Value\n"
        address = self.symbols[name]
        self.breakpoints.append(address)
        return (
            f"Instruction(i) BP #{len(self.breakpoints) - 1} at {address:#x} ({name})\n"
            f"    is enabled   addr at {address:016x}, hardtype=0 installed=0\n\n"
        )


REGISTERS = (*(f"x{n}" for n in range(31)), "sp", "pc")


def stop(
    reason: str,
    pc: int | None = None,
    before: str = "",
    registers: Mapping[str, int] | None = None,
) -> Event:
    """Make the event of a stop, with other values in some registers."""

    def happen(kernel: MadeUp) -> str:
        kernel.stopped = True
        kernel.registers |= registers or {}
        at = ""
        if pc is not None:
            kernel.registers["pc"] = pc
            at = f" @ {pc:#x}"
        cpu = "on processor 0 " if kernel.smp else ""
        return (
            f"{before}\nEntering kdb (current={TASK:#x}, pid 23) {cpu}due to {reason}{at}\n"
            + kernel.prompt()
        )

    return happen


def hit(pc: int, **registers: int) -> Event:
    """Make the event of a breakpoint."""
    return stop("Breakpoint", pc, registers=registers)


def step(pc: int, **registers: int) -> Event:
    """Make the event of a step that comes back."""
    return stop("SS trap", pc, registers=registers)


def end(status: int = 0, before: str = "") -> Event:
    """Make the event of the command's end."""
    return lambda kernel: f"{before}KSTEP-END {kernel.number} {status}\n"


def say(text: str) -> Event:
    """Make the event of text, and nothing more: with "" the kernel is silent for ever."""
    return lambda _kernel: text


@contextmanager
def booted(
    kernel: MadeUp,
    cut: Callable[[bytes], Iterable[bytes]] = whole,
    trace: StringIO | None = None,
) -> Iterator[Target]:
    """Return the target of a made-up kernel."""
    with machine_of(kernel, cut) as machine:
        yield Target(machine, kernel.names, trace)


@contextmanager
def machine_of(
    kernel: MadeUp, cut: Callable[[bytes], Iterable[bytes]] = whole
) -> Iterator[FakeMachine]:
    """Return the machine of a made-up kernel."""
    with line_to(kernel, cut) as console:
        yield FakeMachine(console, kernel.words)
