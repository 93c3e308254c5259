# SPDX-License-Identifier: GPL-2.0-only
"""gdb: the toolchain's gdb-multiarch, controlled through its machine interface.

Its terminal is a pty that is opened here and passed to it, wherever it runs; records are
those of "GDB/MI Output Syntax" in gdb's manual, read by pygdbmi.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from pygdbmi.gdbmiparser import parse_response

from kstep.base.errors import MachineryError
from kstep.base.outcome import KernelFault, Signature
from kstep.base.pty import Pty
from kstep.console.console import Console, SilenceError
from kstep.console.kdb import BREAKPOINT_HIT, STEPPED, Breakpoint, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from kstep.base.deadline import Deadline
    from kstep.results.transcript import Transcript
    from kstep.toolchain import Process, Toolchain

LINE = re.compile(rb"(?P<record>[^\r\n]*)\r?\n")
READY = re.compile(rb"\(gdb\) *\r?\n")
START = 60.0  # seconds for gdb to read the symbols of a kernel; it usually takes one
ANSWER = 20.0  # seconds for a command: `info threads` reads the stack of every task
STOP = 10.0  # seconds for a stop, as with kdb; all before the time scale

# gdb's reasons for a stop, in kdb's words if it has them.
REASONS = {"breakpoint-hit": BREAKPOINT_HIT, "end-stepping-range": STEPPED}

# aarch64-core.xml: x0 to x30, sp, pc, cpsr
REGISTERS = (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate")

SETTINGS = (
    "confirm off",
    "pagination off",
    "width 0",
    "architecture aarch64",
    "debuginfod enabled off",
    "remotetimeout 30",  # seconds; a stalled machine must not cause a retransmission
)


class GdbRefusedError(MachineryError):
    """gdb refused a command; the message is what it printed."""


@dataclass(frozen=True)
class GdbReply:
    """gdb's reply to a command: its results, and the text that gdb and its target printed."""

    results: dict[str, Any]
    text: str


@dataclass
class _Heard:
    """What gdb has sent since a command: stops that are not consumed yet, and text."""

    stops: deque[dict[str, Any]] = field(default_factory=deque)
    text: list[str] = field(default_factory=list)


class Gdb(AbstractContextManager["Gdb"]):
    """One gdb, from its start to its end. Raises MachineryError if it dies or does not answer.

    ``lines`` and ``readable`` are the ptys and folders that it may use, ``program`` the
    file whose symbols it reads. ``kernel_runs`` tells whether a missing stop is the kernel's
    fault. ``look`` is called at every reply and stop, and ``alive`` while nothing is received;
    both may raise.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        program: Path,
        *,
        scale: float,
        lines: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        kernel_runs: Callable[[], bool] = lambda: True,
        look: Callable[[], None] = lambda: None,
        alive: Callable[[], None] = lambda: None,
        missed: Callable[[], float] = lambda: 0.0,
        log: Transcript | None = None,
    ) -> None:
        self._toolchain = toolchain
        self._program = program
        self._scale = scale
        self._lines = lines
        self._readable = readable
        self._kernel_runs = kernel_runs
        self._look = look
        self._alive = alive
        self._missed = missed
        self._log = log
        self._heard = _Heard()
        self._tokens = count(1)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            terminal = Pty.open(stack)
            self._console = Console(terminal.near, self._require_alive, missed=self._missed)
            self._console.transcript = self._log
            self._process: Process = self._toolchain.spawn(
                [
                    *("sh", "-c", 'exec gdb-multiarch "$@" <"$0" >"$0" 2>&1'),
                    str(self._toolchain.inside(terminal.path)),
                    *("-nx", "-q", "--interpreter=mi3"),
                    *(part for setting in SETTINGS for part in ("-iex", f"set {setting}")),
                    str(self._program),
                ],
                readable=[self._program.parent, *self._readable],
                lines=[terminal.path, *self._lines],
            )
            stack.callback(self._process.kill)
            self._expect(READY, "first prompt", START)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    # -- commands

    def command(self, command: str) -> GdbReply:
        """Run a command of the machine interface; raises GdbRefusedError if gdb refuses it."""
        token = next(self._tokens)
        self._heard.text.clear()
        self._console.send(f"{token}{command}\n".encode())
        deadline = self._console.deadline(ANSWER * self._scale)
        while True:
            try:
                record = self._record(f"answer to {command!r}", deadline)
            except SilenceError as error:
                raise self._silent(error) from error
            if record["type"] != "result" or record["token"] != token:
                continue
            self._look()
            results = record["payload"] or {}
            if record["message"] == "error":
                raise GdbRefusedError(f"gdb: {command}: {results.get('msg', 'no reason given')}")
            return GdbReply(results, "".join(self._heard.text))

    def type(self, line: str) -> str:
        """Run a command of the command line; return what gdb and its target print."""
        quoted = line.replace("\\", "\\\\").replace('"', '\\"')
        return self.command(f'-interpreter-exec console "{quoted}"').text

    def connect(self, target: Path) -> None:
        """Connect to a stub, at a pty or a socket (``target remote``)."""
        self.command(f"-target-select remote {target}")
        self._heard.stops.clear()

    def disconnect(self) -> None:
        """Leave the kernel stopped, and the stub free for another gdb (``disconnect``)."""
        self.command("-target-disconnect")

    def detach(self) -> None:
        """Remove the breakpoints and let the kernel run, without a debugger (``detach``)."""
        self.command("-target-detach")

    def breakpoint(self, location: str | int) -> Breakpoint:
        """Set a breakpoint on an address, or a function's first instruction, as kdb does."""
        where = f"&{location}" if isinstance(location, str) else f"{location:#x}"
        set_ = self.command(f"-break-insert *{where}").results["bkpt"]
        return Breakpoint(int(set_["number"]), int(set_["addr"], 16))

    def clear(self, breakpoint_: Breakpoint) -> None:
        """Remove a breakpoint."""
        self.command(f"-break-delete {breakpoint_.number}")

    def select(self, thread: str) -> None:
        """Select a task by its ``id`` in threads() (``thread``)."""
        self.command(f"-thread-select {thread}")

    def registers(self) -> dict[str, int]:
        """Return x0 to x30, sp, pc and pstate of the stopped context, or the selected task's."""
        numbers = " ".join(map(str, range(len(REGISTERS))))
        found = self.command(f"-data-list-register-values x {numbers}").results["register-values"]
        return {REGISTERS[int(each["number"])]: int(each["value"], 16) for each in found}

    def register(self, name: str) -> int:
        """Return one of these registers."""
        return self.registers()[name]

    def frames(self) -> list[int]:
        """Return the address of each frame of the stack, the innermost first (``bt``)."""
        return [
            int(each["addr"], 16) for each in self.command("-stack-list-frames").results["stack"]
        ]

    def threads(self) -> list[dict[str, Any]]:
        """Return the tasks and idle processors (``info threads``), in the form of -thread-info."""
        found: list[dict[str, Any]] = self.command("-thread-info").results["threads"]
        return found

    def value(self, expression: str) -> int:
        """Return the value of a C expression (``print``), as a number."""
        value = self.command(f'-data-evaluate-expression "(long)({expression})"').results["value"]
        return int(value) & (1 << 64) - 1

    def read(self, address: int, size: int) -> bytes:
        """Read memory."""
        command = f"-data-read-memory-bytes {address:#x} {size}"
        return bytes.fromhex(self.command(command).results["memory"][0]["contents"])

    # -- letting the kernel run

    def resume(self) -> None:
        """Let the kernel continue (``continue``); wait() then returns where it stops."""
        self.command("-exec-continue")

    def step_instruction(self, meanwhile: Callable[[], None] = lambda: None) -> Stop:
        """Let the kernel run one instruction (``stepi``), and return where it stopped.

        ``meanwhile`` is called while the kernel runs.
        """
        self.command("-exec-step-instruction")
        meanwhile()
        return self.wait("stop after -exec-step-instruction", Signature.RUNAWAY)

    def run(self, command: str, signature: Signature = Signature.HANG) -> Stop:
        """Run a command that lets the kernel run, and return where it stopped."""
        self.command(command)
        return self.wait(f"stop after {command}", signature)

    def wait(self, what: str, signature: Signature = Signature.HANG) -> Stop:
        """Wait until the kernel stops.

        Raises KernelFault with ``signature`` if it runs and does not stop in time.
        """
        deadline = self._console.deadline(STOP * self._scale)
        while not self._heard.stops:
            try:
                record = self._record(what, deadline)
            except SilenceError as error:
                if not self._kernel_runs():
                    raise self._silent(error) from error
                raise KernelFault(signature, f"gdb sees {error}") from error
            if record["type"] == "result" and record["message"] == "error":
                # It said "running" first: a breakpoint could not be inserted.
                said = " ".join("".join(self._heard.text).split())
                raise GdbRefusedError(f"gdb: no {what}: {said or 'no reason given'}")
        self._look()
        stopped = self._heard.stops.popleft()
        reason = stopped.get("reason", "no reason given by gdb")
        if reason == "signal-received":
            reason = stopped["signal-name"]
        return Stop(REASONS.get(reason, reason), int(stopped["frame"]["addr"], 16), 0, 0)

    # -- receiving

    def _record(self, what: str, deadline: Deadline) -> dict[str, Any]:
        """Wait for gdb's next record, and keep its stop or text."""
        line = self._console.expect(LINE, what, deadline)["record"].decode(errors="replace")
        try:
            record: dict[str, Any] = parse_response(line)
        except TypeError as error:  # from ord(), at the end of a truncated record
            raise MachineryError(f"gdb sent an invalid record: {line[:200]!r}") from error
        if record["type"] in ("console", "target", "log"):
            self._heard.text.append(record["payload"])
        elif record["type"] == "notify" and record["message"] == "stopped":
            self._heard.stops.append(record["payload"])
        return record

    def _expect(self, pattern: re.Pattern[bytes], what: str, seconds: float) -> None:
        try:
            self._console.expect(pattern, what, self._console.deadline(seconds * self._scale))
        except SilenceError as error:
            raise self._silent(error) from error

    def _silent(self, error: SilenceError) -> MachineryError:
        return MachineryError(f"gdb: {error}", details=tuple(self._last_words(error.heard)))

    def _require_alive(self) -> None:
        self._look()
        self._alive()
        if not self._process.alive():
            raise MachineryError("gdb ended", details=tuple(self._last_words(b"")))

    def _last_words(self, heard: bytes) -> list[str]:
        said = f"{heard.decode(errors='replace')}\n{self._process.output()}"
        return [line for line in said.splitlines() if line.strip()][-5:]
